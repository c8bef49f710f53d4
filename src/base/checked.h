// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

#include "base/assert.h"

// Arithmetic on untrusted numbers: an empty optional instead of a silent wrap.
namespace byre {

template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::unsigned_integral T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Whether [offset, offset + length) is inside [0, size), without overflow.
constexpr bool range_fits(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

// ceil(value / divisor), for any value; divisor above 0.
template <std::unsigned_integral T>
constexpr T div_ceil(T value, T divisor) {
  return value / divisor + (value % divisor != 0 ? 1 : 0);
}

constexpr bool is_power_of_two(uint64_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

// Rounds to a multiple of `alignment`, a power of two. align_up asserts that the result fits;
// untrusted numbers are checked by the caller.
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  BYRE_ASSERT(value <= UINT64_MAX - (alignment - 1));
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr bool is_aligned(uint64_t value, uint64_t alignment) {
  return (value & (alignment - 1)) == 0;
}

}  // namespace byre
