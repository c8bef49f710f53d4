// SPDX-License-Identifier: Apache-2.0
#include "open/option_tree.h"

#include <gtest/gtest.h>

namespace byre::open {
namespace {

TEST(OptionTree, GroupsAreTakenOutWithoutTheirPrefix) {
  OptionTree tree;
  tree.set("driver", "qcow2");
  tree.set("file", "node");
  tree.set("file.driver", "file");
  tree.set("file.filename", "a");
  tree.set("filex.driver", "b");
  OptionTree file = tree.take_group("file");
  EXPECT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.find_string("filename"), "a");
  EXPECT_TRUE(tree.has("file"));
  EXPECT_TRUE(tree.has("filex.driver"));
  EXPECT_FALSE(tree.has("file.driver"));
  EXPECT_TRUE(tree.take_group("none").empty());
}

TEST(OptionTree, TextsOfAnyKindAreTakenAndWhatSaysNothingIsNot) {
  OptionTree tree;
  tree.set("string", "x");
  tree.set("number", OptionNumber{"12"});
  tree.set("on", true);
  tree.set("off", false);
  tree.set("null", nullptr);
  tree.set("group", EmptyGroup{});
  EXPECT_EQ(tree.take_text("string"), "x");
  EXPECT_EQ(tree.take_text("number"), "12");
  EXPECT_EQ(tree.take_text("on"), "on");
  EXPECT_EQ(tree.take_text("off"), "off");
  EXPECT_TRUE(tree.is_null("null"));
  EXPECT_EQ(tree.take_text("null"), std::nullopt);
  EXPECT_EQ(tree.take_text("group"), std::nullopt);
  EXPECT_EQ(tree.take_text("nothing"), std::nullopt);
  EXPECT_TRUE(tree.empty());
}

TEST(OptionTree, DefaultsDoNotReplace) {
  OptionTree tree;
  tree.set("a", "1");
  tree.set_default("a", "2");
  tree.set_default("b", "2");
  OptionTree weaker;
  weaker.set("b", "3");
  weaker.set("c", "3");
  tree.set_defaults(weaker);
  EXPECT_EQ(tree.find_string("a"), "1");
  EXPECT_EQ(tree.find_string("b"), "2");
  EXPECT_EQ(tree.find_string("c"), "3");
  tree.remove("a");
  tree.remove("a");
  EXPECT_EQ(tree.find("a"), nullptr);
  tree.set("n", OptionNumber{"1"});
  EXPECT_EQ(tree.find_string("n"), std::nullopt);
}

}  // namespace
}  // namespace byre::open
