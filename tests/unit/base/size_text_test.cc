// SPDX-License-Identifier: Apache-2.0
#include "base/size_text.h"

#include <gtest/gtest.h>

namespace byre {
namespace {

TEST(ParseSize, SuffixesArePowersOf1024InEitherCase) {
  EXPECT_EQ(parse_size("7").value, 7u);
  EXPECT_EQ(parse_size("7b").value, 7u);
  EXPECT_EQ(parse_size("7B").value, 7u);
  EXPECT_EQ(parse_size("3k").value, 3072u);
  EXPECT_EQ(parse_size("3K").value, 3072u);
  EXPECT_EQ(parse_size("2m").value, 2u << 20);
  EXPECT_EQ(parse_size("2G").value, uint64_t{2} << 30);
  EXPECT_EQ(parse_size("2T").value, uint64_t{2} << 40);
  EXPECT_EQ(parse_size("2P").value, uint64_t{2} << 50);
  EXPECT_EQ(parse_size("2e").value, uint64_t{2} << 60);
}

TEST(ParseSize, FractionsAreRoundedToTheNearestByte) {
  EXPECT_EQ(parse_size("1.5k").value, 1536u);
  EXPECT_EQ(parse_size("1.3K").value, 1331u);
  EXPECT_EQ(parse_size(".5k").value, 512u);
  EXPECT_EQ(parse_size("5.k").value, 5120u);
  EXPECT_EQ(parse_size("1.9999999999999999999999999k").value, 2048u);
  EXPECT_EQ(parse_size("0.0000000001k").value, 0u);
}

TEST(ParseSize, AFractionOfAByteIsNoNumber) {
  EXPECT_EQ(parse_size("1.5").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("1.5B").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("1.00000000000000000000001").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("1.0").value, 1u);
  EXPECT_EQ(parse_size("1.").value, 1u);
}

TEST(ParseSize, HexadecimalNumbersHaveNeitherSuffixNorFraction) {
  EXPECT_EQ(parse_size("0x10").value, 16u);
  EXPECT_EQ(parse_size("0xE").value, 14u);
  EXPECT_EQ(parse_size("0XfF").value, 255u);
  EXPECT_EQ(parse_size("0x10K").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("0x1.8").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("0x").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("0x10000000000000000").fault, SizeFault::kOutOfRange);
}

TEST(ParseSize, ALeadingZeroIsNotOctal) {
  EXPECT_EQ(parse_size("010").value, 10u);
}

TEST(ParseSize, SpaceAndPlusMayStandBeforeANumberAndNothingBehindIt) {
  EXPECT_EQ(parse_size(" 5k").value, 5120u);
  EXPECT_EQ(parse_size("\t+5k").value, 5120u);
  EXPECT_EQ(parse_size("5 k").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("5k ").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("++5").fault, SizeFault::kNotANumber);
}

TEST(ParseSize, WhatIsNoNumberIsSaidToBeNone) {
  for (const char* text : {"", "   ", "k", ".", ".k", "foo", "1kk", "1KiB", "1e3", "1.e2k", "1,5k",
                           "inf", "nan", "0b11", "5z", "1k5", "0x1p3", "00x1"}) {
    EXPECT_EQ(parse_size(text).fault, SizeFault::kNotANumber) << text;
  }
}

TEST(ParseSize, ANegativeWholeNumberIsOutOfRangeAndAnyOtherIsNone) {
  EXPECT_EQ(parse_size("-1").fault, SizeFault::kOutOfRange);
  EXPECT_EQ(parse_size(" -1").fault, SizeFault::kOutOfRange);
  EXPECT_EQ(parse_size("-0").fault, SizeFault::kOutOfRange);
  EXPECT_EQ(parse_size("-2M").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("-1.5k").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("- 1").fault, SizeFault::kNotANumber);
  EXPECT_EQ(parse_size("-").fault, SizeFault::kNotANumber);
}

TEST(ParseSize, TheWholeRangeOf64BitsIsReachedAndNotPassed) {
  EXPECT_EQ(parse_size("18446744073709551615").value, UINT64_MAX);
  EXPECT_EQ(parse_size("18446744073709551616").fault, SizeFault::kOutOfRange);
  EXPECT_EQ(parse_size("15E").value, uint64_t{15} << 60);
  EXPECT_EQ(parse_size("16E").fault, SizeFault::kOutOfRange);
  EXPECT_EQ(parse_size("15.9999999999999999999E").fault, SizeFault::kOutOfRange);
}

TEST(ParseSize, ANumberWithoutSuffixCountsInTheDefaultSuffix) {
  EXPECT_EQ(parse_size("3", 'M').value, 3u << 20);
  EXPECT_EQ(parse_size("3b", 'M').value, 3u);
}

}  // namespace
}  // namespace byre
