// SPDX-License-Identifier: Apache-2.0
#include "cli/sizes.h"

#include <gtest/gtest.h>

#include "byre/error.h"

namespace byre::cli {
namespace {

std::string refusal(const std::string& text, uint64_t min = 0, uint64_t max = INT64_MAX) {
  try {
    parse_size_argument("image size", text, min, max);
  } catch (const Error& error) {
    return error.message();
  }
  return "accepted";
}

TEST(ParseSizeArgument, SaysWhatIsWrongInQemusWords) {
  EXPECT_EQ(refusal("foo"), "Invalid image size specified: 'foo'.");
  EXPECT_EQ(refusal("-1"),
            "Invalid image size specified. Must be between 0 and 9223372036854775807.");
  EXPECT_EQ(refusal("8E"),
            "Invalid image size specified. Must be between 0 and 9223372036854775807.");
  EXPECT_EQ(refusal("4", 5, 9), "Invalid image size specified. Must be between 5 and 9.");
  EXPECT_EQ(refusal("10", 5, 9), "Invalid image size specified. Must be between 5 and 9.");
  EXPECT_EQ(refusal("5", 5, 9), "accepted");
  EXPECT_EQ(refusal("9", 5, 9), "accepted");
}

TEST(HumanSize, HasThreeDigitsAndTheUnitThatKeepsItBelowAThousand) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(999), "999 B");
  EXPECT_EQ(human_size(1000), "0.977 KiB");
  EXPECT_EQ(human_size(1024), "1 KiB");
  EXPECT_EQ(human_size(197120), "192 KiB");
  EXPECT_EQ(human_size(2359296), "2.25 MiB");
  EXPECT_EQ(human_size(uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(human_size(uint64_t{2} << 40), "2 TiB");
  EXPECT_EQ(human_size(UINT64_MAX), "16 EiB");
}

}  // namespace
}  // namespace byre::cli
