// SPDX-License-Identifier: Apache-2.0
#include "cli/json_text.h"

#include <gtest/gtest.h>

namespace byre::cli {
namespace {

TEST(JsonText, MembersStandInQemusOrderHoweverTheyWereSet) {
  JsonText json = JsonText::object();
  json.set("dirty-flag", false).set("filename", "a").set("virtual-size", 5u);
  EXPECT_EQ(json.to_text(),
            "{\n    \"virtual-size\": 5,\n    \"filename\": \"a\",\n    \"dirty-flag\": false\n}");
}

TEST(JsonText, EmptyObjectsAndArraysTakeTwoLines) {
  JsonText json = JsonText::object();
  json.set("children", JsonText::array()).set("data", JsonText::object());
  EXPECT_EQ(json.to_text(), "{\n    \"children\": [\n    ],\n    \"data\": {\n    }\n}");
}

TEST(JsonText, ItemsAreIndentedByFour) {
  JsonText json = JsonText::array();
  json.add(1).add(JsonText::array().add("x").add(true));
  EXPECT_EQ(json.to_text(), "[\n    1,\n    [\n        \"x\",\n        true\n    ]\n]");
}

TEST(JsonText, NumbersKeepTheirWholeRange) {
  EXPECT_EQ(JsonText(UINT64_MAX).to_text(), "18446744073709551615");
  EXPECT_EQ(JsonText(INT64_MIN).to_text(), "-9223372036854775808");
}

TEST(JsonText, ForPeopleNamesLoseTheirDashesAndItemsAreCounted) {
  JsonText flags = JsonText::array();
  flags.add("auto");
  JsonText bitmap = JsonText::object();
  bitmap.set("name", "b\"0").set("granularity", 65536).set("flags", flags);
  JsonText json = JsonText::object();
  json.set("lazy-refcounts", false).set("bitmaps", JsonText::array().add(bitmap));
  EXPECT_EQ(json.to_human_text(1),
            "    lazy refcounts: false\n"
            "    bitmaps:\n"
            "        [0]:\n"
            "            flags:\n"
            "                [0]: auto\n"
            "            name: b\"0\n"
            "            granularity: 65536\n");
}

TEST(JsonTextDeathTest, ANameThatQemuDoesNotPrintIsABug) {
  JsonText json = JsonText::object();
  EXPECT_DEATH(json.set("no-such-name", 1), "");
}

}  // namespace
}  // namespace byre::cli
