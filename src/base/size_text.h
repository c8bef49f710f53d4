// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

// Sizes in human-readable form, with QEMU's rules.
namespace byre {

enum class SizeFault { kNotANumber, kOutOfRange };

// A number with an optional suffix b k K m M g G t T p P e E (powers of 1024). Decimal numbers may
// have a fraction ("1.5G"); hexadecimal ones ("0x10") have neither fraction nor suffix. Leading
// white space is accepted. A number without suffix is in units of `default_suffix`.
struct ParsedSize {
  uint64_t value = 0;
  std::optional<SizeFault> fault;
};
ParsedSize parse_size(std::string_view text, char default_suffix = 'B');

}  // namespace byre
