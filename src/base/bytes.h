// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

// Bytes in memory, and the big-endian integers that qcow2 and NBD keep in them.
namespace byre {

using Bytes = std::span<uint8_t>;
using ConstBytes = std::span<const uint8_t>;

template <class T>
constexpr T byte_swap(T value) {
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(value));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(value));
}

template <class T>
constexpr T big_endian(T value) {
  return std::endian::native == std::endian::little ? byte_swap(value) : value;
}

// An unsigned integer as stored on disk: big-endian, without alignment, so that a struct of them
// has no padding and a swap cannot be forgotten.
template <class T>
class BigEndian {
 public:
  BigEndian() = default;
  BigEndian(T value) { *this = value; }  // NOLINT: reads as an integer on purpose
  operator T() const {                   // NOLINT
    T stored;
    std::memcpy(&stored, bytes_, sizeof stored);
    return big_endian(stored);
  }
  BigEndian& operator=(T value) {
    const T stored = big_endian(value);
    std::memcpy(bytes_, &stored, sizeof stored);
    return *this;
  }

 private:
  uint8_t bytes_[sizeof(T)];
};

using Be16 = BigEndian<uint16_t>;
using Be32 = BigEndian<uint32_t>;
using Be64 = BigEndian<uint64_t>;
static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4 && sizeof(Be64) == 8 && alignof(Be64) == 1);

template <class T>
T load_big_endian(const uint8_t* from) {
  T stored;
  std::memcpy(&stored, from, sizeof stored);
  return big_endian(stored);
}

template <class T>
void store_big_endian(uint8_t* to, T value) {
  const T stored = big_endian(value);
  std::memcpy(to, &stored, sizeof stored);
}

// Whether every byte is zero; vectorised, stops at the first that is not.
bool is_all_zero(ConstBytes bytes);

}  // namespace byre
