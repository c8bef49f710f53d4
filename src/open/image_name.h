// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace byre::open {

// The protocol that a name begins with: what stands before a ':' that comes before any '/'. Nothing
// for a plain path. "json" is one in this sense.
std::optional<std::string_view> protocol_of(std::string_view name);

// A backing or data file name as it stands in an image, seen from that image: relative names are
// relative to the image's folder; "file:" is taken off.
std::string resolve_relative(const std::string& image_filename, const std::string& name);

}  // namespace byre::open
