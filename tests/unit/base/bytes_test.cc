// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <gtest/gtest.h>

#include <vector>

namespace byre {
namespace {

TEST(Bytes, BigEndianIntegersStandOnDiskMostSignificantByteFirst) {
  struct Raw {
    Be16 a;
    Be32 b;
    Be64 c;
  };
  static_assert(sizeof(Raw) == 14);
  Raw raw;
  raw.a = 0x0102;
  raw.b = 0x03040506;
  raw.c = 0x0708090a0b0c0d0eULL;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&raw);
  for (int i = 0; i < 14; ++i) EXPECT_EQ(bytes[i], i + 1);
  EXPECT_EQ(raw.a, 0x0102);
  EXPECT_EQ(raw.b, 0x03040506u);
  EXPECT_EQ(raw.c, 0x0708090a0b0c0d0eULL);
}

TEST(Bytes, AnySingleByteAtAnyPlaceMakesARangeNotZero) {
  for (size_t size : {1u, 7u, 8u, 255u, 256u, 257u, 1000u}) {
    std::vector<uint8_t> bytes(size, 0);
    EXPECT_TRUE(is_all_zero(bytes)) << size;
    for (size_t at = 0; at < size; ++at) {
      bytes[at] = 1;
      EXPECT_FALSE(is_all_zero(bytes)) << size << " at " << at;
      bytes[at] = 0;
    }
  }
  EXPECT_TRUE(is_all_zero({}));
}

}  // namespace
}  // namespace byre
