// SPDX-License-Identifier: Apache-2.0
#include "open/option_list.h"

#include <gtest/gtest.h>

#include "byre/error.h"

namespace byre::open {
namespace {

OptionTree parse(std::string_view text, std::vector<std::string>* warnings = nullptr) {
  std::vector<std::string> ignored;
  return parse_option_list(text, warnings == nullptr ? ignored : *warnings);
}

TEST(OptionListOfImages, NamesHaveValuesAndCommasInThemAreDoubled) {
  const OptionTree tree = parse("driver=qcow2,file.filename=a,,b=c,x=");
  EXPECT_EQ(tree.entries().size(), 3u);
  EXPECT_EQ(tree.find_string("driver"), "qcow2");
  EXPECT_EQ(tree.find_string("file.filename"), "a,b=c");
  EXPECT_EQ(tree.find_string("x"), "");
  EXPECT_TRUE(parse("").empty());
  EXPECT_EQ(parse("driver=a,").entries().size(), 1u);
}

TEST(OptionListOfImages, TheFirstWordMayBeTheFile) {
  EXPECT_EQ(parse("node,driver=raw").find_string("file"), "node");
  EXPECT_EQ(parse("a,,b=c,driver=raw").find_string("file"), "a,b=c");
  EXPECT_EQ(parse(",driver=raw").find_string("file"), "");
  EXPECT_EQ(parse("=x").find_string(""), "x");
}

TEST(OptionListOfImages, TheLastOfTwoValuesCounts) {
  EXPECT_EQ(parse("driver=raw,driver=qcow2").find_string("driver"), "qcow2");
}

TEST(OptionListOfImages, WordsWithoutAValueAreSwitchesWithAWarning) {
  std::vector<std::string> warnings;
  const OptionTree tree = parse("driver=raw,read-only,nofoo,help", &warnings);
  EXPECT_EQ(tree.find_string("read-only"), "on");
  EXPECT_EQ(tree.find_string("foo"), "off");
  EXPECT_EQ(tree.find_string("help"), "on");
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0],
            "short-form boolean option 'read-only' deprecated\nPlease use read-only=on instead");
  EXPECT_EQ(warnings[1],
            "short-form boolean option 'nofoo' deprecated\nPlease use foo=off instead");
}

TEST(OptionListOfImages, AnIdMustLookLikeOne) {
  EXPECT_EQ(parse("driver=raw,id=a-1.b_c").find_string("id"), "a-1.b_c");
  for (const char* id : {"id=5", "id=", "id=a b", "id=_a"}) {
    try {
      parse(std::string("driver=raw,") + id);
      ADD_FAILURE() << id;
    } catch (const Error& error) {
      EXPECT_EQ(error.message(), kBadId);
    }
  }
}

}  // namespace
}  // namespace byre::open
