// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace byre::cli {

// A plain number, decimal, hexadecimal (0x) or octal (0), without suffix, in [min, max]. Throws
// Error with QEMU's message: "Invalid <what> specified: '<text>'." or "... Must be between <min>
// and <max>.".
int64_t parse_number_argument(std::string_view what, const std::string& text, int64_t min,
                              int64_t max);

}  // namespace byre::cli
