// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

namespace byre::test {

// Eight bytes of a disk at `offset`, a multiple of 8, lowest byte first. They are derived from
// offset and seed, so that a misplaced byte shows; none is 0, so that a hole shows, too.
inline uint64_t pattern_word(uint64_t offset, uint64_t seed) {
  uint64_t mixed = (offset / 8 + 1) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;
  mixed ^= mixed >> 29;
  mixed *= 0x94d049bb133111ebu;
  constexpr uint64_t kLowBits = 0x7f7f7f7f7f7f7f7fu;
  const uint64_t high_bit_unless_zero = ((mixed & kLowBits) + kLowBits) | mixed;
  return mixed | (~high_bit_unless_zero & ~kLowBits) >> 7;
}

inline uint8_t pattern_byte(uint64_t offset, uint64_t seed) {
  return static_cast<uint8_t>(pattern_word(offset, seed) >> (offset % 8 * 8));
}

// Word by word: tests generate GiB of it, some under sanitizers that check each access.
inline std::vector<uint8_t> pattern(uint64_t offset, size_t length, uint64_t seed) {
  static_assert(std::endian::native == std::endian::little);
  std::vector<uint8_t> bytes(length);
  size_t i = 0;
  for (; i < length && (offset + i) % 8 != 0; ++i) bytes[i] = pattern_byte(offset + i, seed);
  for (; i + 8 <= length; i += 8) {
    const uint64_t word = pattern_word(offset + i, seed);
    std::memcpy(bytes.data() + i, &word, sizeof(word));
  }
  for (; i < length; ++i) bytes[i] = pattern_byte(offset + i, seed);
  return bytes;
}

}  // namespace byre::test
