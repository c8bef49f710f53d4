// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cli/qemu_text.h"

// Rows of the tables of QEMU's words, with what qemu-img 10.0.2 prints.
namespace byre::cli {

struct QemuTextCase {
  ErrorData data;
  const char* text;
  int errno_value = EINVAL;
};

inline Error error_of(const QemuTextCase& each) {
  return Error(ErrorKind::kCorrupt, each.errno_value, each.data, "byre's own sentence");
}

// No row is missing, and each has these texts.
inline void expect_rows(const std::vector<QemuTextCase>& tested, std::span<const QemuText> rows) {
  std::set<std::string_view> codes;
  for (const QemuTextCase& each : tested) codes.insert(each.data.code);
  std::set<std::string_view> expected;
  for (const QemuText& row : rows) {
    EXPECT_TRUE(expected.insert(row.code).second) << row.code << " has two rows";
  }
  EXPECT_EQ(codes, expected);
}

inline void expect_texts(const std::vector<QemuTextCase>& tested) {
  for (const QemuTextCase& each : tested) {
    const Error error = error_of(each);
    EXPECT_EQ(qemu_text(error), each.text) << each.data.code.view();
    EXPECT_EQ(qemu_text(error.with_prefix("a").with_suffix("c")),
              "a: " + std::string(each.text) + "c");
  }
}

}  // namespace byre::cli
