// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace byre::qcow2::layout {

// A typed offset. The tag keeps address spaces apart: an offset plus a length is an offset, the
// difference of two offsets of one space is a length, and only the image's tables turn a guest
// offset into a host offset. value() leaves the type, the explicit constructor enters it.
template <class Tag>
class Place {
 public:
  constexpr Place() = default;
  explicit constexpr Place(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr bool is_zero() const { return value_ == 0; }

  // REQUIRES: the result fits; numbers from outside are checked first.
  constexpr Place operator+(uint64_t length) const { return Place(value_ + length); }
  constexpr Place operator-(uint64_t length) const { return Place(value_ - length); }
  constexpr uint64_t operator-(Place from) const { return value_ - from.value_; }
  constexpr Place& operator+=(uint64_t length) { return *this = *this + length; }
  constexpr Place& operator-=(uint64_t length) { return *this = *this - length; }
  constexpr Place& operator++() { return *this += 1; }
  constexpr auto operator<=>(const Place&) const = default;

 private:
  uint64_t value_ = 0;
};

// A byte offset into the guest's disk.
using GuestOffset = Place<struct GuestTag>;
// A byte offset into the image file, or into the external data file where the entry says so.
using HostOffset = Place<struct HostTag>;
// The index of a host cluster: host offset / cluster size. Lengths are counts of clusters.
using HostCluster = Place<struct HostClusterTag>;

static_assert(sizeof(GuestOffset) == 8 && sizeof(HostOffset) == 8 && sizeof(HostCluster) == 8);

}  // namespace byre::qcow2::layout
