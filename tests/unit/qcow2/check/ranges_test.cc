// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace byre::qcow2 {
namespace {

using testing::ElementsAre;
using Range = OverlappingRanges::Range;

TEST(OverlappingRanges, AreSplitByTheirCounts) {
  OverlappingRanges ranges;
  EXPECT_TRUE(ranges.ranges().empty());
  ranges.add(10, 20);
  ranges.add(15, 30);
  ranges.add(40, 50);
  ranges.add(7, 7);
  EXPECT_THAT(ranges.ranges(),
              ElementsAre(Range{10, 15, 1}, Range{15, 20, 2}, Range{20, 30, 1}, Range{40, 50, 1}));
}

TEST(OverlappingRanges, ThatOnlyTouchAreMerged) {
  OverlappingRanges ranges;
  ranges.add(10, 20);
  ranges.add(20, 30);
  EXPECT_THAT(ranges.ranges(), ElementsAre(Range{10, 30, 1}));
}

TEST(RangeSet, JoinsWhatOverlapsOrTouches) {
  RangeSet set;
  EXPECT_EQ(set.end_of(0), 0u);
  set.add(10, 20);
  set.add(30, 40);
  EXPECT_EQ(set.end_of(9), 9u);
  EXPECT_EQ(set.end_of(10), 20u);
  EXPECT_EQ(set.end_of(20), 20u);
  set.add(20, 30);
  EXPECT_EQ(set.end_of(10), 40u);
  set.add(0, 100);
  set.add(50, 60);
  EXPECT_EQ(set.end_of(1), 100u);
  set.add(100, 100);
  EXPECT_EQ(set.end_of(100), 100u);
}

TEST(RangeSet, FindsWhetherARangeIntersects) {
  RangeSet set;
  EXPECT_EQ(set.last_end_before(100), 0u);
  set.add(10, 20);
  set.add(30, 40);
  EXPECT_EQ(set.last_end_before(10), 0u);
  EXPECT_EQ(set.last_end_before(11), 20u);
  EXPECT_EQ(set.last_end_before(30), 20u);
  EXPECT_EQ(set.last_end_before(31), 40u);
  EXPECT_FALSE(set.intersects(20, 30));
  EXPECT_TRUE(set.intersects(19, 20));
  EXPECT_TRUE(set.intersects(0, 100));
  EXPECT_FALSE(set.intersects(40, 50));
  EXPECT_TRUE(set.contains(39));
  EXPECT_FALSE(set.contains(40));
  EXPECT_EQ(set.range_count(), 2u);
}

}  // namespace
}  // namespace byre::qcow2
