// SPDX-License-Identifier: Apache-2.0
#include "base/json_string.h"

#include <gtest/gtest.h>

namespace byre {
namespace {

TEST(JsonString, EscapesAsQemuDoes) {
  EXPECT_EQ(json_string("plain"), "\"plain\"");
  EXPECT_EQ(json_string("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(json_string("\b\f\n\r\t"), R"("\b\f\n\r\t")");
  EXPECT_EQ(json_string("\x01\x7f"), R"("\u0001\u007F")");
  EXPECT_EQ(json_string("ünï"), R"("\u00FCn\u00EF")");
  EXPECT_EQ(json_string("\xf0\x9f\x98\x80"), R"("\uD83D\uDE00")");
}

TEST(JsonString, WhatIsNoUtf8BecomesTheReplacementCharacter) {
  EXPECT_EQ(json_string("a\xff"
                        "b"),
            R"("a\uFFFDb")");
  EXPECT_EQ(json_string("\xc3"), R"("\uFFFD")");
  EXPECT_EQ(json_string("\xed\xa0\x80"), R"("\uFFFD")");      // a surrogate
  EXPECT_EQ(json_string("\xf4\x90\x80\x80"), R"("\uFFFD")");  // above U+10FFFF
  EXPECT_EQ(json_string("\xe2\x82"
                        "a"),
            R"("\uFFFDa")");
}

TEST(JsonString, LongFormsCountAsQemuCountsThem) {
  EXPECT_EQ(json_string(std::string_view("\0a", 2)), R"("\u0000a")");
  EXPECT_EQ(json_string("\xc0\x80"), R"("\u0000")");
  EXPECT_EQ(json_string("\xc1\xbf"), R"("\uFFFD")");
  EXPECT_EQ(json_string("\xe0\x80\x80"), R"("\uFFFD")");
  EXPECT_EQ(json_string("\xf8\x88\x80\x80\x80"), R"("\uFFFD")");
  EXPECT_EQ(json_string("\xfc\x84\x80\x80\x80\x80"), R"("\uFFFD")");
  EXPECT_EQ(json_string("\xfe\x80"), R"("\uFFFD\uFFFD")");
}

}  // namespace
}  // namespace byre
