// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/features.h"

#include <gtest/gtest.h>

#include "golden_bytes.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2::layout {
namespace {

TEST(Features, TheTableForNewImagesIsQemus) {
  const auto image = golden::from_hex(golden::kVersion3Header, 112 + 8 + 0x180);
  const ConstBytes table = ConstBytes(image).subspan(112 + 8, 0x180);
  EXPECT_EQ(parse_feature_names(table), known_feature_names());
  const auto encoded = encode_feature_names(known_feature_names());
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), table.begin(), table.end()));
}

TEST(Features, ATableOfEveryKnownBitNamesEveryKnownBit) {
  uint64_t bits[3] = {};
  for (const FeatureName& name : known_feature_names()) bits[name.type] |= uint64_t{1} << name.bit;
  EXPECT_EQ(bits[0], incompatible::kKnown);
  EXPECT_EQ(bits[1], compatible::kKnown);
  EXPECT_EQ(bits[2], autoclear::kKnown);
}

TEST(Features, ANameOfFullLengthHasNoTerminator) {
  const std::vector<FeatureName> names = {
      {0, 63, std::string(46, 'x')}, {9, 200, "odd"}, {0, 1, ""}};
  EXPECT_EQ(parse_feature_names(encode_feature_names(names)), names);
}

TEST(Features, ATableThatEndsInsideAnEntryNamesWithWhatIsThere) {
  auto bytes = encode_feature_names({{0, 5, "five"}, {0, 6, "six"}});
  bytes.resize(48 + 4);
  const std::vector<FeatureName> expected = {{0, 5, "five"}, {0, 6, "si"}};
  EXPECT_EQ(parse_feature_names(bytes), expected);
  bytes.resize(48 + 1);
  EXPECT_EQ(parse_feature_names(bytes).size(), 1u);
  EXPECT_TRUE(parse_feature_names({}).empty());
}

// The expected texts are qemu-img's for images with these tables and bits.
TEST(Features, UnknownBitsAreListedAsQemuListsThem) {
  EXPECT_EQ(feature_list(0x60, {}), "Unknown incompatible feature: 60");
  EXPECT_EQ(feature_list(uint64_t{1} << 63, {}), "Unknown incompatible feature: 8000000000000000");
  EXPECT_EQ(feature_list(0x60, {{0, 5, "my feature"}}),
            "my feature, Unknown incompatible feature: 40");
  EXPECT_EQ(feature_list(0x60, {{0, 6, "six"}, {0, 5, "five"}}), "six, five");
  EXPECT_EQ(feature_list(0x60, {{0, 6, "six"}, {0, 6, "again"}}),
            "six, Unknown incompatible feature: 20");
  EXPECT_EQ(feature_list(0x20, {{1, 5, "compatible"}}), "Unknown incompatible feature: 20");
  EXPECT_EQ(feature_list(0x20, {{0, 1, ""}, {0, 5, "past the end"}}),
            "Unknown incompatible feature: 20");
}

TEST(Features, ABitNumberAbove63NamesNothing) {
  EXPECT_EQ(feature_list(0x20, {{0, 64 + 5, "wrapped"}}), "Unknown incompatible feature: 20");
}

}  // namespace
}  // namespace byre::qcow2::layout
