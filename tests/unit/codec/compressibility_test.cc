// SPDX-License-Identifier: Apache-2.0
#include "codec/compressibility.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace byre::codec {
namespace {

TEST(Compressibility, RandomBytesLookRandomAtEverySizeFromASampleOn) {
  std::mt19937_64 random(1);
  for (size_t size = 4096; size <= (size_t{2} << 20); size *= 2) {
    std::vector<uint8_t> data(size);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
    EXPECT_TRUE(looks_random(data)) << size;
  }
}

TEST(Compressibility, ShortRangesNeverLookRandom) {
  std::mt19937_64 random(2);
  std::vector<uint8_t> data(4095);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  EXPECT_FALSE(looks_random(data));
  EXPECT_FALSE(looks_random({}));
}

TEST(Compressibility, BytesOfASmallAlphabetDoNotLookRandom) {
  std::mt19937_64 random(3);
  std::vector<uint8_t> data(65536);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>('a' + random() % 26);
  EXPECT_FALSE(looks_random(data));
}

TEST(Compressibility, ARangeThatIsHalfZeroDoesNotLookRandom) {
  std::mt19937_64 random(4);
  std::vector<uint8_t> data(65536, 0);
  for (size_t i = 0; i < data.size() / 2; ++i) data[i] = static_cast<uint8_t>(random());
  EXPECT_FALSE(looks_random(data));
}

}  // namespace
}  // namespace byre::codec
