// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Sizes as people write and read them, with QEMU's rules.
namespace byre::cli {

enum class SizeFault { kNotANumber, kOutOfRange };

// A number with an optional suffix b k K m M g G t T p P e E (powers of 1024). Decimal numbers may
// have a fraction ("1.5G"), hexadecimal ones ("0x10") have neither fraction nor suffix. Leading
// white space is taken. `default_suffix` is what a number without suffix counts in.
struct ParsedSize {
  uint64_t value = 0;
  std::optional<SizeFault> fault;
};
ParsedSize parse_size(std::string_view text, char default_suffix = 'B');

// The same for an argument that must lie in [min, max]; throws Error in QEMU's words:
// "Invalid <what> specified: '<text>'." and what follows it, on one or two lines.
// `what` is "image size", "block size", ...
uint64_t parse_size_argument(std::string_view what, const std::string& text, uint64_t min = 0,
                             uint64_t max = INT64_MAX);

// "196 KiB", "1.5 GiB", "512 B": as QEMU prints sizes for people.
std::string human_size(uint64_t bytes);

}  // namespace byre::cli
