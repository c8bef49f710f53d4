// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace byre::test {

// The byte that belongs at this place of a disk: derived from offset and seed, so that a byte that
// went astray shows; never 0, so that a hole does too.
inline uint8_t pattern_byte(uint64_t offset, uint64_t seed) {
  uint64_t mixed = (offset / 8 + 1) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;
  mixed ^= mixed >> 29;
  mixed *= 0x94d049bb133111ebu;
  const auto byte = static_cast<uint8_t>(mixed >> (offset % 8 * 8));
  return byte == 0 ? 1 : byte;
}

inline std::vector<uint8_t> pattern(uint64_t offset, size_t length, uint64_t seed) {
  std::vector<uint8_t> bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = pattern_byte(offset + i, seed);
  return bytes;
}

}  // namespace byre::test
