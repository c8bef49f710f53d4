// SPDX-License-Identifier: Apache-2.0
#include "block/io_vector.h"

#include <gtest/gtest.h>

#include <numeric>

namespace byre {
namespace {

TEST(IoVector, ASliceCrossesSegments) {
  std::vector<uint8_t> a(10), b(10), c(10);
  std::iota(a.begin(), a.end(), 0);
  std::iota(b.begin(), b.end(), 10);
  std::iota(c.begin(), c.end(), 20);
  ReadBuffers all;
  all.append(a.data(), 10);
  all.append(b.data(), 10);
  all.append(c.data(), 10);
  EXPECT_EQ(all.size(), 30u);
  for (size_t offset = 0; offset <= 30; ++offset) {
    for (size_t length = 0; length <= 30 - offset; ++length) {
      const ReadBuffers part = all.slice(offset, length);
      ASSERT_EQ(part.size(), length);
      std::vector<uint8_t> flat(length);
      part.copy_to(flat);
      for (size_t i = 0; i < length; ++i) ASSERT_EQ(flat[i], offset + i);
    }
  }
}

TEST(IoVector, SegmentsThatTouchBecomeOne) {
  std::vector<uint8_t> bytes(10);
  ReadBuffers vector;
  vector.append(bytes.data(), 5);
  vector.append(bytes.data() + 5, 5);
  EXPECT_EQ(vector.segments().size(), 1u);
  EXPECT_EQ(vector.contiguous().size(), 10u);
}

TEST(IoVector, AnEmptyOneHasNoSegments) {
  EXPECT_TRUE(ReadBuffers().segments().empty());
  EXPECT_TRUE(ReadBuffers().is_all_zero());
}

TEST(IoVector, CopiesInAndClears) {
  std::vector<uint8_t> a(3), b(4), from{1, 2, 3, 4, 5, 6, 7};
  ReadBuffers vector;
  vector.append(a.data(), 3);
  vector.append(b.data(), 4);
  vector.copy_from(from);
  EXPECT_EQ(a, (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(b, (std::vector<uint8_t>{4, 5, 6, 7}));
  EXPECT_FALSE(vector.is_all_zero());
  vector.fill_zero();
  EXPECT_TRUE(vector.is_all_zero());
}

}  // namespace
}  // namespace byre
