// SPDX-License-Identifier: Apache-2.0
#include "open/blkdebug_rules.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "byre/error.h"
#include "open/option_list.h"

namespace byre::open {
namespace {

using filter::BlkdebugRule;

std::string refusal(const std::string& text) {
  try {
    parse_blkdebug_file(text);
  } catch (const Error& error) {
    return error.message();
  }
  return "taken";
}

std::vector<BlkdebugRule> from_options(const std::string& text) {
  std::vector<std::string> warnings;
  OptionTree tree = parse_option_list(text, warnings);
  return take_blkdebug_rules(tree);
}

std::string option_refusal(const std::string& text) {
  try {
    from_options(text);
  } catch (const Error& error) {
    return error.message();
  }
  return "taken";
}

TEST(BlkdebugRules, AFileHasSectionsOfNamesAndQuotedValues) {
  const auto rules = parse_blkdebug_file(
      "# what fails\n\n"
      "[set-state]\n"
      "event = \"write_aio\"\n"
      "state = \"1\"\n"
      "new_state = \"2\"\n"
      "[inject-error \"first\"] # named\n"
      "  event = \"read_aio\" # after it\n"
      "errno = \"28\"\nsector = \"3\"\nonce = \"on\"\nimmediately = \"on\"\nstate = \"2\"\n"
      "iotype = \"read\"");
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0].action, BlkdebugRule::Action::kInjectError);
  EXPECT_EQ(rules[0].event, DebugEvent::kReadAio);
  EXPECT_EQ(rules[0].errno_value, ENOSPC);
  EXPECT_EQ(rules[0].offset, 1536u);
  EXPECT_TRUE(rules[0].once);
  EXPECT_TRUE(rules[0].immediately);
  EXPECT_EQ(rules[0].state, 2);
  EXPECT_EQ(rules[0].kinds, filter::kReadRequest);
  EXPECT_EQ(rules[1].action, BlkdebugRule::Action::kSetState);
  EXPECT_EQ(rules[1].event, DebugEvent::kWriteAio);
  EXPECT_EQ(rules[1].state, 1);
  EXPECT_EQ(rules[1].new_state, 2);
  EXPECT_TRUE(parse_blkdebug_file("").empty());
}

TEST(BlkdebugRules, WhatIsNotSaidHasQemusDefaults) {
  const auto rules = parse_blkdebug_file("[inject-error]\nevent = \"none\"\nsector = \"-1\"\n");
  ASSERT_EQ(rules.size(), 1u);
  EXPECT_EQ(rules[0].errno_value, EIO);
  EXPECT_EQ(rules[0].state, 0);
  EXPECT_EQ(rules[0].offset, std::nullopt);
  EXPECT_FALSE(rules[0].once);
  EXPECT_EQ(rules[0].kinds & filter::kBlockStatusRequest, 0);
  EXPECT_NE(rules[0].kinds & filter::kFlushRequest, 0);
}

TEST(BlkdebugRules, AFileIsRefusedInQemusWords) {
  const std::string kStart = "[inject-error]\nevent = \"read_aio\"\n";
  const std::pair<std::string, const char*> kCases[] = {
      {"event = \"read_aio\"\n", "no group defined"},
      {"   \n", "no group defined"},
      {kStart + "   \n", "parse error"},
      {"[foo]\n", "There is no option group 'foo'"},
      {"[inject-error\n", "There is no option group 'inject-error\n'"},
      {"[inject-error]\n", "Missing event name for rule"},
      {"[inject-error]\nevent = \"foo\"\n", "invalid parameter value: foo"},
      {"[inject-error]\nevent = read_aio\n", "invalid parameter value: "},
      {"[inject-error]\nevent = \"read_aio\n", "invalid parameter value: read_aio\n"},
      {"[inject-error]\nevent=\"read_aio\"\n", "Invalid parameter 'event=\"read_aio\"'"},
      {kStart + "foo = \"x\"\n", "Invalid parameter 'foo'"},
      {kStart + "errno = \"x\"\n", "Parameter 'errno' expects a number"},
      {kStart + "once = \"maybe\"\n", "Parameter 'once' expects 'on' or 'off'"},
      {kStart + "iotype = \"x\"\n", "invalid parameter value: x"},
      {"[set-state]\nevent = \"read_aio\"\nonce = \"on\"\n", "Invalid parameter 'once'"},
      {"[inject-error \"a\"]\nevent = \"none\"\n[inject-error \"a\"]\n",
       "Duplicate ID 'a' for inject-error"},
  };
  for (const auto& [text, message] : kCases) EXPECT_EQ(refusal(text), message) << text;
}

TEST(BlkdebugRules, OptionsAreListsOfRules) {
  const auto rules = from_options(
      "inject-error.0.event=read_aio,inject-error.1.event=write_aio,set-state.0.event=l2_load,"
      "set-state.0.new_state=3");
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rules[0].event, DebugEvent::kReadAio);
  EXPECT_EQ(rules[1].event, DebugEvent::kWriteAio);
  EXPECT_EQ(rules[2].event, DebugEvent::kL2Load);
  EXPECT_EQ(rules[2].new_state, 3);
  EXPECT_EQ(from_options("inject-error.event=read_aio").size(), 1u);
  EXPECT_TRUE(from_options("").empty());
}

TEST(BlkdebugRules, OptionsAreRefusedInQemusWords) {
  EXPECT_EQ(option_refusal("inject-error.1.event=read_aio"),
            "Unused option '1.event' for [inject-error]");
  EXPECT_EQ(option_refusal("inject-error.0.event=read_aio,inject-error.0.foo=x"),
            "[inject-error] section doesn't support the option 'foo'");
  EXPECT_EQ(option_refusal("inject-error.0.errno=5"), "Missing event name for rule");
  EXPECT_EQ(option_refusal("set-state.0.event=read_aio,set-state.0.new_state=x"),
            "Parameter 'new_state' expects a number");
}

}  // namespace
}  // namespace byre::open
