// SPDX-License-Identifier: Apache-2.0
#include "cli/snapshot_option.h"

#include <gtest/gtest.h>

#include "byre/error.h"
#include "cli/messages.h"

namespace byre::cli {
namespace {

struct Outcome {
  open::SnapshotSelector selector;
  std::string out;
  std::string warnings;
  std::string error;
};

Outcome parse(const std::string& text) {
  Invocation invocation;
  invocation.program = "qemu-img";
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  try {
    outcome.selector = parse_snapshot_option(text, invocation);
  } catch (const Error& error) {
    outcome.error = error.message();
  }
  flush_output();
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.warnings = testing::internal::GetCapturedStderr();
  return outcome;
}

std::string warning(const std::string& written, const std::string& wanted) {
  return "qemu-img: warning: short-form boolean option '" + written + "' deprecated\nPlease use " +
         wanted + " instead\n";
}

TEST(SnapshotOption, AnythingElseIsAnIdOrAName) {
  for (const char* text : {"1", "", "snapshot", "nosnapshot.", "id=1,name=2"}) {
    const Outcome outcome = parse(text);
    EXPECT_EQ(outcome.selector.id_or_name, text);
    EXPECT_EQ(outcome.selector.id, std::nullopt);
    EXPECT_EQ(outcome.selector.name, std::nullopt);
    EXPECT_EQ(outcome.warnings + outcome.error + outcome.out, "");
  }
}

TEST(SnapshotOption, IdAndNameMayBothBeGiven) {
  const Outcome both = parse("snapshot.id=1,snapshot.name=a,,b");
  EXPECT_EQ(both.selector.id, "1");
  EXPECT_EQ(both.selector.name, "a,b");
  EXPECT_EQ(both.selector.id_or_name, std::nullopt);
  EXPECT_EQ(both.warnings + both.error, "");
  EXPECT_EQ(parse("snapshot.id=1,snapshot.id=2").selector.id, "2");
  EXPECT_EQ(parse("snapshot.id=").selector.id, "");
}

TEST(SnapshotOption, ANameAloneIsASwitchWithAWarning) {
  const Outcome on = parse("snapshot.id,");
  EXPECT_EQ(on.selector.id, "on");
  EXPECT_EQ(on.warnings, warning("snapshot.id", "snapshot.id=on"));
  const Outcome off = parse("snapshot.id=1,nosnapshot.id");
  EXPECT_EQ(off.selector.id, "off");
  EXPECT_EQ(off.warnings, warning("nosnapshot.id", "snapshot.id=off"));
}

TEST(SnapshotOption, AnUnknownNameIsRefusedAfterTheWarningsBeforeIt) {
  const Outcome with_value = parse("snapshot.=1");
  EXPECT_EQ(with_value.warnings, "");
  EXPECT_EQ(with_value.error,
            "Invalid parameter 'snapshot.'\n"
            "qemu-img: Failed in parsing snapshot param 'snapshot.=1'");
  const Outcome alone = parse("snapshot.id,foo,bar");
  EXPECT_EQ(alone.warnings, warning("snapshot.id", "snapshot.id=on") + warning("foo", "foo=on"));
  EXPECT_EQ(alone.error,
            "Invalid parameter 'foo'\n"
            "qemu-img: Failed in parsing snapshot param 'snapshot.id,foo,bar'");
  EXPECT_EQ(parse("snapshot.help").error,
            "Invalid parameter 'snapshot.help'\n"
            "qemu-img: Failed in parsing snapshot param 'snapshot.help'");
}

TEST(SnapshotOption, HelpListsWhatThereIs) {
  for (const char* help : {"help", "?"}) {
    const std::string text = std::string("snapshot.id=1,") + help + ",foo";
    const Outcome outcome = parse(text);
    EXPECT_EQ(outcome.out,
              "snapshot options:\n"
              "  snapshot.id=<str>      - snapshot id\n"
              "  snapshot.name=<str>    - snapshot name\n");
    EXPECT_EQ(outcome.error, "Failed in parsing snapshot param '" + text + "'");
  }
}

}  // namespace
}  // namespace byre::cli
