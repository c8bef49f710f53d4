// SPDX-License-Identifier: Apache-2.0
#include "cli/qemu_text.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace byre::cli {
namespace {

TEST(QemuText, NoCodeIsInTwoTables) {
  std::set<std::string_view> codes;
  for (const auto texts :
       {qemu_texts_of_qcow2(), qemu_texts_of_devices(), qemu_texts_of_jobs(), qemu_findings()}) {
    for (const QemuText& row : texts) EXPECT_TRUE(codes.insert(row.code).second) << row.code;
  }
}

TEST(QemuText, AnotherFileChangesNoPrefixAndNoSuffix) {
  const Error error(ErrorKind::kCorrupt, EINVAL, ErrorData{.code = "qcow2-header-too-short"}, "x");
  EXPECT_EQ(qemu_text(error.with_file("b").with_prefix("a").with_suffix("c")),
            "a: qcow2 header too shortc");
}

TEST(QemuText, WithoutARowItIsTheMessage) {
  const Error plain(ErrorKind::kIo, EIO, "bad", "try again");
  EXPECT_EQ(qemu_text(plain.with_prefix("a")), "a: bad");
  EXPECT_EQ(hint_below(plain.with_prefix("a")), "try again");
  const Error own(ErrorKind::kIo, EIO, ErrorData{.code = "byres-own"}, "bad");
  EXPECT_EQ(qemu_text(own.with_file("b")), "'b': bad");
  EXPECT_EQ(hint_below(own), "");
}

TEST(QemuText, ByresOwnSentenceComesBelow) {
  const Error error(ErrorKind::kCorrupt, EINVAL, ErrorData{.code = "qcow2-header-too-short"},
                    "byre's own sentence");
  EXPECT_EQ(hint_below(error), "byre's own sentence");
  EXPECT_EQ(hint_below(error.with_file("b").with_prefix("Could not open 'b'")),
            "'b': byre's own sentence");
  EXPECT_EQ(hint_below(error.with_hint("try again")), "byre's own sentence\ntry again");
}

TEST(QemuText, WarningsAreWholeLinesWhereQemuPrintsThem) {
  const Error problem(ErrorKind::kCorrupt, EIO, "bad");
  const struct {
    WarningKind kind;
    const char* text;
  } lines[] = {
      {WarningKind::kDeprecatedOption, "warning: bad\n"},
      {WarningKind::kBitmapsUnreadable, "warning: bad\n"},
      {WarningKind::kSnapshotsUnreadable, "warning: bad\n"},
      {WarningKind::kLeaked, "warning: bad\n"},
      {WarningKind::kStaleBitmaps, "warning: bad"},
      {WarningKind::kFormatGuessed, "bad\n"},
      {WarningKind::kRepaired, "bad\n"},
      {WarningKind::kMarkedCorrupt,
       "qcow2: Marking image as corrupt: bad; further corruption events will be suppressed\n"},
      {WarningKind::kCorrupt,
       "qcow2: Image is corrupt: bad; further non-fatal corruption events will be suppressed\n"},
  };
  for (const auto& line : lines) EXPECT_EQ(qemu_text(Warning{line.kind, problem}), line.text);
}

}  // namespace
}  // namespace byre::cli
