// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/types.h"

#include <gtest/gtest.h>

#include <concepts>

namespace byre::qcow2::layout {
namespace {

template <class A, class B>
concept Comparable = requires(A a, B b) { a < b; };
template <class A, class B>
concept Addable = requires(A a, B b) { a + b; };
template <class A, class B>
concept Subtractable = requires(A a, B b) { a - b; };

TEST(Types, OffsetsOfDifferentSpacesDoNotMix) {
  static_assert(!std::convertible_to<GuestOffset, HostOffset>);
  static_assert(!std::constructible_from<HostOffset, GuestOffset>);
  static_assert(!std::convertible_to<uint64_t, HostOffset>);
  static_assert(!std::convertible_to<HostOffset, uint64_t>);
  static_assert(Comparable<HostOffset, HostOffset> && !Comparable<HostOffset, HostCluster>);
  static_assert(!Addable<HostOffset, HostOffset> && Addable<HostOffset, uint64_t>);
  static_assert(!Subtractable<HostOffset, GuestOffset>);
  SUCCEED();
}

TEST(Types, ADifferenceIsALengthAndAnOffsetPlusALengthIsAnOffset) {
  HostOffset place(0x10000);
  EXPECT_EQ(place + 0x200, HostOffset(0x10200));
  EXPECT_EQ(HostOffset(0x10200) - place, 0x200u);
  EXPECT_EQ(HostOffset(0x10200) - uint64_t{0x200}, place);
  place += 8;
  place -= 4;
  ++place;
  EXPECT_EQ(place.value(), 0x10005u);
  EXPECT_TRUE(HostOffset().is_zero());
  EXPECT_LT(GuestOffset(1), GuestOffset(2));
}

}  // namespace
}  // namespace byre::qcow2::layout
