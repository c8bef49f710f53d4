// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace byre::storage {

// The first `size_max` bytes of a small file of the host, or of /proc. Blocks. Throws what the host
// says, "<path>: <reason>".
std::string read_text_file(const std::string& path, size_t size_max);

}  // namespace byre::storage
