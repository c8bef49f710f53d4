// SPDX-License-Identifier: Apache-2.0
#include "base/real_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace byre {
namespace {

TEST(ParseReal, ReadsWhatStandsAtTheFront) {
  EXPECT_EQ(parse_real("1.5"), 1.5);
  EXPECT_EQ(parse_real("-2.5e-3"), -0.0025);
  EXPECT_EQ(parse_real("0.1"), 0.1);
  EXPECT_EQ(parse_real("7 apples"), 7);
  EXPECT_EQ(parse_real("apples"), 0);
}

TEST(ParseReal, WhatIsTooLargeIsInfiniteAndWhatIsTooSmallIsZero) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(parse_real("1e999"), infinity);
  EXPECT_EQ(parse_real("-1e999"), -infinity);
  EXPECT_EQ(parse_real("1e-999"), 0);
}

}  // namespace
}  // namespace byre
