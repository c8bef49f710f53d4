// SPDX-License-Identifier: Apache-2.0
#include "open/option_json.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "byre/error.h"

namespace byre::open {
namespace {

std::string refusal(const std::string& text) {
  try {
    parse_json_name("json:" + text);
  } catch (const Error& error) {
    return error.message();
  }
  return "taken";
}

OptionTree parse(const std::string& text) {
  return *parse_json_name("json:" + text);
}

TEST(OptionJson, MembersAndItemsHaveDottedNames) {
  const OptionTree tree = parse(
      R"({"driver": "qcow2", "file": {"driver": "file", "filename": "a"}, "list": [1, [true]]})");
  EXPECT_EQ(tree.entries().size(), 5u);
  EXPECT_EQ(tree.find_string("file.filename"), "a");
  EXPECT_EQ(*tree.find("list.0"), OptionValue(OptionNumber{"1"}));
  EXPECT_EQ(*tree.find("list.1.0"), OptionValue(true));
}

TEST(OptionJson, ANestedNameCountsMoreThanADottedOne) {
  EXPECT_EQ(parse(R"({"file.a": "x", "file": {"a": "y"}})").find_string("file.a"), "y");
  EXPECT_EQ(parse(R"({"file": {"a": "y"}, "file.a": "x"})").find_string("file.a"), "y");
}

TEST(OptionJson, OtherNamesAreNone) {
  EXPECT_EQ(parse_json_name("disk.img"), std::nullopt);
  EXPECT_EQ(parse_json_name("JSON:{}"), std::nullopt);
  EXPECT_EQ(parse_json_name("./json:{}"), std::nullopt);
}

TEST(OptionJson, ValuesKeepWhatTheyAre) {
  const OptionTree tree =
      parse(R"({"n": null, "t": true, "f": false, "o": {}, "l": [], "s": "", "d": {"e": {}}})");
  EXPECT_TRUE(tree.is_null("n"));
  EXPECT_EQ(*tree.find("t"), OptionValue(true));
  EXPECT_EQ(*tree.find("f"), OptionValue(false));
  EXPECT_EQ(*tree.find("o"), OptionValue(EmptyGroup{}));
  EXPECT_EQ(*tree.find("l"), OptionValue(EmptyGroup{}));
  EXPECT_EQ(tree.find_string("s"), "");
  EXPECT_EQ(*tree.find("d.e"), OptionValue(EmptyGroup{}));
}

TEST(OptionJson, NumbersAreShownAsQemuShowsThem) {
  const std::pair<const char*, const char*> kCases[] = {
      {"0", "0"},
      {"-0", "0"},
      {"12", "12"},
      {"-5", "-5"},
      {"9223372036854775808", "9223372036854775808"},
      {"18446744073709551615", "18446744073709551615"},
      {"18446744073709551616", "1.8446744073709552e+19"},
      {"0.0", "0"},
      {"5e2", "500"},
      {"512.5", "512.5"},
      {"1e400", "inf"},
      {"-1e400", "-inf"},
      {"1e-400", "0"},
  };
  for (const auto& [text, shown] : kCases) {
    const OptionTree tree = parse(std::string(R"({"a": )") + text + "}");
    const auto* number = std::get_if<OptionNumber>(tree.find("a"));
    ASSERT_NE(number, nullptr) << text;
    EXPECT_EQ(number->text, shown) << text;
  }
}

TEST(OptionJson, StringsMayHaveEitherQuotesAndEscapes) {
  EXPECT_EQ(parse(R"({'a': 'b"c'})").find_string("a"), "b\"c");
  EXPECT_EQ(parse(R"({"a": "b'\'\"\\\/\b\f\n\r\t"})").find_string("a"), "b''\"\\/\b\f\n\r\t");
  EXPECT_EQ(parse(R"({"a": "\u0041\u00e9\u20ac\ud83d\ude00"})").find_string("a"), "Aé€😀");
  EXPECT_EQ(parse(R"({"a": "é"})").find_string("a"), "é");
  EXPECT_EQ(parse(R"({"a": "\u0000"})").find_string("a"), "\xc0\x80");
}

TEST(OptionJson, RefusesInQemusWords) {
  const std::string kStart = "Could not parse the JSON options: ";
  const std::pair<const char*, const char*> kCases[] = {
      {"", "Expecting a JSON value"},
      {"{", "JSON parse error, premature EOI"},
      {"[1", "JSON parse error, premature EOI"},
      {R"({"a"})", "JSON parse error, missing : in object pair"},
      {R"({"a" 1})", "JSON parse error, missing : in object pair"},
      {R"({"a":})", "JSON parse error, expecting value"},
      {R"({"a":1,})", "JSON parse error, expecting value"},
      {"{,}", "JSON parse error, expecting value"},
      {"]", "JSON parse error, expecting value"},
      {R"({"a":1 "b":2})", "JSON parse error, expected separator in dict"},
      {R"({"a":[1 2]})", "JSON parse error, expected separator in list"},
      {R"({"a":[1,2})", "JSON parse error, expected separator in list"},
      {R"({"a":0x10})", "JSON parse error, expected separator in dict"},
      {"{a:1}", "JSON parse error, invalid keyword 'a'"},
      {R"({"a":tru})", "JSON parse error, invalid keyword 'tru'"},
      {"{1:2}", "JSON parse error, key is not a string in object"},
      {R"({"a":1,"a":2})", "JSON parse error, duplicate key"},
      {R"({"a":True})", "JSON parse error, stray 'T'"},
      {R"({"a":01})", "JSON parse error, stray '01'"},
      {R"({"a":-})", "JSON parse error, stray '-}'"},
      {R"({"a":1.})", "JSON parse error, stray '1.}'"},
      {R"({"a":1e})", "JSON parse error, stray '1e}'"},
      {"-", "JSON parse error, stray '-'"},
      {R"({"a":"b)", "JSON parse error, stray '\"b'"},
      {"{\"a\":\"b\tc\"}", "JSON parse error, stray '\"b\t'"},
      {"{\"a\":\"b\xff\"}", "JSON parse error, stray '\"b\xff'"},
      {"{\"a\":\"b\xc3(\"}", "JSON parse error, invalid UTF-8 sequence in string"},
      {R"({"a":"\p"})", "JSON parse error, invalid escape sequence in string"},
      {R"({"a":"\ud83d"})", "JSON parse error, \\ud83d is not a valid Unicode character"},
      {R"({"a":"\uFFFF"})", "JSON parse error, \\uFFFF is not a valid Unicode character"},
      {R"({"a":"\u12pe"})", "JSON parse error, \\u12pe is not a valid Unicode character"},
      {R"({} x)", "Expecting at most one JSON value"},
      {"{}{}", "Expecting at most one JSON value"},
      {"{}}", "Expecting at most one JSON value"},
  };
  for (const auto& [text, message] : kCases) EXPECT_EQ(refusal(text), kStart + message) << text;
  for (const char* text : {"[]", "1", "\"x\"", "null", "[{}]"}) {
    EXPECT_EQ(refusal(text), "Invalid JSON object given") << text;
  }
}

std::string repeat(const std::string& text, size_t count) {
  std::string result;
  for (size_t i = 0; i < count; ++i) result += text;
  return result;
}

TEST(OptionJson, DepthAndSizeAreBounded) {
  EXPECT_EQ(refusal(repeat("[", 1024) + repeat("]", 1024)), "Invalid JSON object given");
  EXPECT_EQ(refusal(repeat("[", 1025)),
            "Could not parse the JSON options: JSON nesting depth limit exceeded");
  // Short text, long names.
  const std::string name(60000, 'a');
  const std::string members = repeat("[],", 1000) + "[]";
  EXPECT_EQ(refusal("{\"" + name + "\":[" + members + "]}"),
            "Could not parse the JSON options: JSON parse error, the names are too long in "
            "total");
}

}  // namespace
}  // namespace byre::open
