// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace byre::open {

// The protocol that a name begins with: the text before a ':' that precedes any '/'. Nothing for a
// plain path. "json" is a protocol in this sense.
std::optional<std::string_view> protocol_of(std::string_view name);

// A backing file's name from an image, resolved relative to the image's directory. As in QEMU, names
// with a protocol are not changed: what "file:" names is relative to the current directory.
std::string resolve_relative(const std::string& image_filename, const std::string& name);

}  // namespace byre::open
