// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace byre::qcow2::layout {

// A place in bytes. The tag keeps places of different spaces apart: adding a length to a place
// gives a place, the distance of two places of one space is a length, and nothing turns a guest
// place into a host place but the tables of the image. value() leaves the type, the explicit
// constructor enters it.
template <class Tag>
class Place {
 public:
  constexpr Place() = default;
  explicit constexpr Place(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }
  constexpr bool is_zero() const { return value_ == 0; }

  // The caller knows that the result fits; numbers from outside are checked first.
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
