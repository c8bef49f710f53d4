// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "base/bytes.h"

namespace byre::storage {

// Fills `to` from the start of a file of the host, or of /proc; returns the number of bytes that
// there were. Blocks. Throws the host's error, "<path>: <reason>".
size_t read_front(const std::string& path, Bytes to);

// The same as a text of at most `size_max` bytes.
std::string read_text_file(const std::string& path, size_t size_max);

}  // namespace byre::storage
