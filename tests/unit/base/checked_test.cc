// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"

#include <gtest/gtest.h>

namespace byre {
namespace {

TEST(Checked, SumsAndProductsThatDoNotFitAreNothing) {
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 32, uint64_t{1} << 31), uint64_t{1} << 63);
  EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(checked_add<uint32_t>(UINT32_MAX, 1), std::nullopt);
}

TEST(Checked, ARangeThatWrapsDoesNotFit) {
  EXPECT_TRUE(range_fits(0, 10, 10));
  EXPECT_TRUE(range_fits(10, 0, 10));
  EXPECT_FALSE(range_fits(10, 1, 10));
  EXPECT_FALSE(range_fits(UINT64_MAX, 2, 10));
  EXPECT_FALSE(range_fits(1, UINT64_MAX, 10));
}

TEST(Checked, DivisionRoundsUpWithoutWrapping) {
  EXPECT_EQ(div_ceil<uint64_t>(0, 4), 0u);
  EXPECT_EQ(div_ceil<uint64_t>(1, 4), 1u);
  EXPECT_EQ(div_ceil<uint64_t>(UINT64_MAX, 2), uint64_t{1} << 63);
}

TEST(Checked, AlignmentIsToPowersOfTwo) {
  EXPECT_EQ(align_down(4097, 4096), 4096u);
  EXPECT_EQ(align_up(4097, 4096), 8192u);
  EXPECT_EQ(align_up(4096, 4096), 4096u);
  EXPECT_TRUE(is_aligned(8192, 4096));
  EXPECT_FALSE(is_aligned(8193, 4096));
}

}  // namespace
}  // namespace byre
