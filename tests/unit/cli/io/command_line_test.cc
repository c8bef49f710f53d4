// SPDX-License-Identifier: Apache-2.0
#include "cli/io/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace byre::cli::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string refusal_of_offset(const std::string& text) {
  try {
    parse_offset(text);
  } catch (const Refusal& refusal) {
    return refusal.text;
  }
  return "";
}

std::string refusal_of_pattern(const std::string& text) {
  try {
    parse_pattern(text);
  } catch (const Refusal& refusal) {
    return refusal.text;
  }
  return "";
}

std::string refusal_of_lengths(const std::vector<std::string>& texts) {
  try {
    parse_lengths(texts);
  } catch (const Refusal& refusal) {
    return refusal.text;
  }
  return "";
}

TEST(CommandLine, IsSplitAtSpacesAlone) {
  CommandLine line("  read  -v\t 0   16 ");
  EXPECT_EQ(line.name(), "read");
  EXPECT_EQ(line.argument_count(), 3u);
  EXPECT_EQ(line.word(1), "-v\t");
  EXPECT_EQ(line.word(3), "16");
  EXPECT_TRUE(CommandLine("").empty());
  EXPECT_TRUE(CommandLine("    ").empty());
}

TEST(CommandLine, OptionsMayStandAnywhereUntilTwoDashes) {
  CommandLine line("read 0 -q 512 -P 7");
  EXPECT_EQ(line.next_option("qP:"), 'q');
  EXPECT_EQ(line.next_option("qP:"), 'P');
  EXPECT_EQ(line.option_argument(), "7");
  EXPECT_EQ(line.next_option("qP:"), std::nullopt);
  EXPECT_THAT(line.operands(), ElementsAre("0", "512"));

  CommandLine dashed("read -q -- -1 5");
  EXPECT_EQ(dashed.next_option("q"), 'q');
  EXPECT_EQ(dashed.next_option("q"), std::nullopt);
  EXPECT_THAT(dashed.operands(), ElementsAre("-1", "5"));
}

TEST(CommandLine, OptionsOfOneLineDoNotReachIntoTheNext) {
  CommandLine first("read -qv 0 1");
  EXPECT_EQ(first.next_option("qv"), 'q');  // the rest is never requested
  CommandLine second("read -v 0 1");
  EXPECT_EQ(second.next_option("qv"), 'v');
  EXPECT_EQ(second.next_option("qv"), std::nullopt);
  EXPECT_THAT(second.operands(), ElementsAre("0", "1"));
}

TEST(CommandLine, AWrongOptionAsksForTheUsageLine) {
  testing::internal::CaptureStderr();
  CommandLine line("r -Z 0 1");
  EXPECT_THROW(line.next_option("q"), UsageRequest);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "r: invalid option -- 'Z'\n");
  testing::internal::CaptureStderr();
  CommandLine missing("read -P");
  EXPECT_THROW(missing.next_option("P:"), UsageRequest);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "read: option requires an argument -- 'P'\n");
  EXPECT_THAT(missing.operands(), IsEmpty());
}

TEST(ParseOffset, TakesSizesUpToTheLargestSignedNumber) {
  EXPECT_EQ(parse_offset("0"), 0);
  EXPECT_EQ(parse_offset("1.5k"), 1536);
  EXPECT_EQ(parse_offset("0x10"), 16);
  EXPECT_EQ(parse_offset("7E"), int64_t{7} << 60);
  EXPECT_EQ(parse_offset("9223372036854775807"), INT64_MAX);
}

TEST(ParseOffset, TellsWhatIsNoNumberFromWhatIsTooLarge) {
  constexpr const char* kNoNumber =
      "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- ";
  EXPECT_EQ(refusal_of_offset("x"), std::string(kNoNumber) + "x");
  EXPECT_EQ(refusal_of_offset("1kk"), std::string(kNoNumber) + "1kk");
  EXPECT_EQ(refusal_of_offset(""), kNoNumber);
  EXPECT_EQ(refusal_of_offset("8E"), "Parsing error: argument too large -- 8E");
  EXPECT_EQ(refusal_of_offset("-1"), "Parsing error: argument too large -- -1");
}

TEST(ParseOffset, MayNameAnotherWord) {
  try {
    parse_offset("x", "-m");
    FAIL();
  } catch (const Refusal& refusal) {
    EXPECT_THAT(refusal.text, testing::EndsWith(" -- -m"));
  }
}

TEST(ParsePattern, IsAByteInThreeNotations) {
  EXPECT_EQ(parse_pattern("0"), 0);
  EXPECT_EQ(parse_pattern("255"), 255);
  EXPECT_EQ(parse_pattern("0xcd"), 0xcd);
  EXPECT_EQ(parse_pattern("010"), 8);
  EXPECT_EQ(parse_pattern("+7"), 7);
}

TEST(ParsePattern, RefusesEverythingElse) {
  for (const char* text : {"256", "-1", "x", "", "0x", "1k", "7 ", "99999999999999999999"}) {
    EXPECT_EQ(refusal_of_pattern(text), std::string(text) + " is not a valid pattern byte");
  }
}

TEST(ParseLengths, EachAndAllTogetherHaveABound) {
  EXPECT_THAT(parse_lengths({"1k", "0", "512"}), ElementsAre(1024u, 0u, 512u));
  EXPECT_THAT(parse_lengths({"2147483136"}), ElementsAre(2147483136u));
  EXPECT_EQ(refusal_of_lengths({"2G"}), "Argument '2G' exceeds maximum size 2147483136");
  EXPECT_EQ(refusal_of_lengths({"1G", "1G"}),
            "The total number of bytes exceed the maximum size 2147483136");
  EXPECT_THAT(refusal_of_lengths({"1", "x"}), testing::EndsWith(" -- x"));
}

}  // namespace
}  // namespace byre::cli::io
