// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace byre::qcow2::layout {

// A typed offset. The tag keeps address spaces apart: an offset plus a length is an offset, the
// difference of two offsets of one space is a length, and only the image's tables turn a guest
// offset into a host offset. value() leaves the type, the explicit constructor enters it.
template <class Tag>
class TypedOffset {
 public:
  constexpr TypedOffset() = default;
  explicit constexpr TypedOffset(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr bool is_zero() const { return value_ == 0; }

  // REQUIRES: the result fits; numbers from outside are checked first.
  constexpr TypedOffset operator+(uint64_t length) const { return TypedOffset(value_ + length); }
  constexpr TypedOffset operator-(uint64_t length) const { return TypedOffset(value_ - length); }
  constexpr uint64_t operator-(TypedOffset from) const { return value_ - from.value_; }
  constexpr TypedOffset& operator+=(uint64_t length) { return *this = *this + length; }
  constexpr TypedOffset& operator-=(uint64_t length) { return *this = *this - length; }
  constexpr TypedOffset& operator++() { return *this += 1; }
  constexpr auto operator<=>(const TypedOffset&) const = default;

 private:
  uint64_t value_ = 0;
};

// A byte offset into the guest's disk.
using GuestOffset = TypedOffset<struct GuestTag>;
// A byte offset into the image file, or into the external data file where the entry says so.
using HostOffset = TypedOffset<struct HostTag>;
// The index of a host cluster: host offset / cluster size. Lengths are counts of clusters.
using HostCluster = TypedOffset<struct HostClusterTag>;

static_assert(sizeof(GuestOffset) == 8 && sizeof(HostOffset) == 8 && sizeof(HostCluster) == 8);

}  // namespace byre::qcow2::layout
