// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

namespace byre {

bool is_all_zero(ConstBytes bytes) {
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  // Most data that is not all zero has a nonzero byte at its start, middle or end.
  if (left == 0) return true;
  if (at[0] != 0 || at[left / 2] != 0 || at[left - 1] != 0) return false;
  constexpr size_t kBlock = 256;
  while (left >= kBlock) {
    uint64_t any = 0;
    for (size_t i = 0; i < kBlock; i += 8) {
      uint64_t word;
      std::memcpy(&word, at + i, 8);
      any |= word;
    }
    if (any != 0) return false;
    at += kBlock;
    left -= kBlock;
  }
  for (size_t i = 0; i < left; ++i) {
    if (at[i] != 0) return false;
  }
  return true;
}

}  // namespace byre
