// SPDX-License-Identifier: Apache-2.0
#include "storage/text_file.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "byre/error.h"

namespace byre::storage {
namespace {

int errno_of_reading(const std::string& path) {
  try {
    read_text_file(path, 16);
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.message()).starts_with("Could not ")) << error.message();
    return error.errno_value();
  }
  return 0;
}

TEST(ReadTextFile, GivesNoMoreThanWasAskedFor) {
  const std::string path = testing::TempDir() + "text_file_test.txt";
  std::ofstream(path) << "one\ntwo\n";
  EXPECT_EQ(read_text_file(path, 100), "one\ntwo\n");
  EXPECT_EQ(read_text_file(path, 8), "one\ntwo\n");
  EXPECT_EQ(read_text_file(path, 5), "one\nt");
  EXPECT_EQ(read_text_file(path, 0), "");
  EXPECT_EQ(remove(path.c_str()), 0);
}

TEST(ReadTextFile, SaysWhyItCannot) {
  EXPECT_EQ(errno_of_reading(testing::TempDir() + "no such file"), ENOENT);
  EXPECT_EQ(errno_of_reading(testing::TempDir()), EISDIR);
}

}  // namespace
}  // namespace byre::storage
