// SPDX-License-Identifier: Apache-2.0
#include "cli/io/payload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "cli/io/command_line.h"
#include "unit/support/temporary_folder.h"

namespace byre::cli::io {
namespace {

std::string text_of(const Buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

std::string refusal_of_file(const std::string& name) {
  try {
    file_payload(10, name);
  } catch (const Refusal& refusal) {
    return refusal.text;
  }
  return "";
}

TEST(Payload, OfAPatternIsThatByteAllOver) {
  const Buffer payload = pattern_payload(1000, 7);
  EXPECT_TRUE(is_all(payload.bytes(), 7));
  EXPECT_FALSE(is_all(payload.bytes(), 8));
  EXPECT_GE(pattern_payload(0, 7).size(), 0u);
}

TEST(Payload, OfAFileIsItsBytesOverAndOver) {
  const test::TemporaryFolder folder;
  const std::string name = folder.file("pattern");
  std::ofstream(name) << "abc";
  EXPECT_EQ(text_of(file_payload(1, name)), "a");
  EXPECT_EQ(text_of(file_payload(3, name)), "abc");
  EXPECT_EQ(text_of(file_payload(11, name)), "abcabcabcab");
  const std::string longer = text_of(file_payload(1001, name));
  for (size_t i = 0; i < longer.size(); ++i) ASSERT_EQ(longer[i], "abc"[i % 3]) << i;
}

TEST(Payload, OfWhatIsNoFileIsRefused) {
  const test::TemporaryFolder folder;
  const std::string empty = folder.file("empty");
  std::ofstream{empty};
  EXPECT_EQ(refusal_of_file(empty), empty + ": file is empty");
  EXPECT_EQ(refusal_of_file(folder.file("none")),
            folder.file("none") + ": No such file or directory");
  EXPECT_EQ(refusal_of_file(folder.file("")), folder.file("") + ": Is a directory");
}

TEST(IsAll, SeesTheFirstAndTheLastByte) {
  std::vector<uint8_t> bytes(100, 5);
  EXPECT_TRUE(is_all(bytes, 5));
  bytes.back() = 6;
  EXPECT_FALSE(is_all(bytes, 5));
  bytes.back() = 5;
  bytes.front() = 6;
  EXPECT_FALSE(is_all(bytes, 5));
  EXPECT_FALSE(is_all(bytes, 6));
  EXPECT_TRUE(is_all({}, 6));
  EXPECT_TRUE(is_all(ConstBytes(bytes).first(1), 6));
}

}  // namespace
}  // namespace byre::cli::io
