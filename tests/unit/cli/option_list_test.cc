// SPDX-License-Identifier: Apache-2.0
#include "cli/option_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "byre/error.h"

namespace byre::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

std::vector<std::pair<std::string, std::string>> entries_of(const std::string& text) {
  OptionList list;
  list.add(text);
  return list.entries();
}

bool is_refused(const std::string& text) {
  OptionList list;
  try {
    list.add(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Invalid option list: " + text);
    return true;
  }
  return false;
}

TEST(OptionList, NamesAndValuesComeInTheOrderGiven) {
  EXPECT_THAT(entries_of("a=1,b=2"), ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_THAT(entries_of("a==x"), ElementsAre(Pair("a", "=x")));
  EXPECT_THAT(entries_of("a="), ElementsAre(Pair("a", "")));
  EXPECT_THAT(entries_of("=x"), ElementsAre(Pair("", "x")));
}

TEST(OptionList, ADoubledCommaIsPartOfTheValue) {
  EXPECT_THAT(entries_of("a=x,,y,b=2"), ElementsAre(Pair("a", "x,y"), Pair("b", "2")));
  EXPECT_THAT(entries_of("a=x,,"), ElementsAre(Pair("a", "x,")));
  EXPECT_THAT(entries_of("a=x,,,,b=2"), ElementsAre(Pair("a", "x,,b=2")));
  EXPECT_THAT(entries_of("a=x,,,b=2"), ElementsAre(Pair("a", "x,"), Pair("b", "2")));
}

TEST(OptionList, ANameAloneIsOnAndWithNoBeforeItOff) {
  EXPECT_THAT(entries_of("lazy"), ElementsAre(Pair("lazy", "on")));
  EXPECT_THAT(entries_of("nolazy"), ElementsAre(Pair("lazy", "off")));
  EXPECT_THAT(entries_of("nocow"), ElementsAre(Pair("cow", "off")));
  EXPECT_THAT(entries_of("nocow=on"), ElementsAre(Pair("nocow", "on")));
}

TEST(OptionList, SeveralAreOne) {
  OptionList list;
  EXPECT_TRUE(list.empty());
  list.add("a=1");
  list.add("b=2,a=3");
  EXPECT_FALSE(list.empty());
  EXPECT_THAT(list.entries(), ElementsAre(Pair("a", "1"), Pair("b", "2"), Pair("a", "3")));
}

TEST(OptionList, CommasWithNothingBesideThemAreRefused) {
  for (const char* text : {"", ",", ",,", ",,,", "a=1,", ",a=1", ",,a=1", "a=1,,,"}) {
    EXPECT_TRUE(is_refused(text)) << text;
  }
  for (const char* text : {"a=1,,", "a", "a=,,b"}) EXPECT_FALSE(is_refused(text)) << text;
}

TEST(OptionList, AsksForHelpWhereHelpStandsAloneAmongTheOptions) {
  const auto asks = [](const std::string& text) {
    OptionList list;
    list.add(text);
    return list.asks_for_help();
  };
  for (const char* text : {"help", "?", "a=1,help", "a,help,b", "a=1,?"})
    EXPECT_TRUE(asks(text)) << text;
  for (const char* text : {"a=1", "a=help", "help=1", "helpme", "a=1,,help"}) {
    EXPECT_FALSE(asks(text)) << text;
  }
}

TEST(SplitOptions, AnEmptyTextHasNone) {
  EXPECT_THAT(split_options(""), IsEmpty());
}

TEST(OptionHelp, IsSortedAlignedAndLeavesOutWhatIsNotListed) {
  using open::OptionKind;
  constexpr open::OptionDescription kOptions[] = {
      {"size", OptionKind::kSize, "Virtual disk size"},
      {"a_name_that_is_long", OptionKind::kBool, "Long"},
      {"hidden", OptionKind::kString, "Hidden", nullptr, false},
      {"bits", OptionKind::kNumber, "Bits"},
  };
  EXPECT_EQ(option_help(kOptions),
            "  a_name_that_is_long=<bool (on/off)> - Long\n"
            "  bits=<num>             - Bits\n"
            "  size=<size>            - Virtual disk size\n");
}

}  // namespace
}  // namespace byre::cli
