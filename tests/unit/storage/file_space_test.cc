// SPDX-License-Identifier: Apache-2.0
#include "storage/file_space.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "async/loop.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

constexpr uint64_t kLength = 1 << 20;

TEST(FileSpace, PreparingTakesSpaceWhereItPaysAndLeavesTheSize) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {1, 2, 3});
  Loop loop;
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  FileSpace space(&file, false, 1, 0);
  loop.run(space.prepare(kLength, kLength));
  struct stat status{};
  struct statfs system{};
  ASSERT_EQ(fstat(file.fd(), &status), 0);
  ASSERT_EQ(fstatfs(file.fd(), &system), 0);
  EXPECT_EQ(status.st_size, 3);
  const uint64_t taken = static_cast<uint64_t>(status.st_blocks) * 512;
  if (system.f_type == EXT4_SUPER_MAGIC) {
    EXPECT_GE(taken, kLength);
  } else {
    EXPECT_LT(taken, kLength);
  }
}

TEST(FileSpace, WhatIsPreparedReadsAsAHoleUntilItIsWritten) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  Loop loop;
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  ASSERT_EQ(ftruncate(file.fd(), 2 * kLength), 0);
  FileSpace space(&file, false, 1, 0);
  loop.run(space.prepare(0, kLength));
  const FileSpace::Run run = space.find(0, 2 * kLength);
  EXPECT_TRUE(run.is_hole);
  EXPECT_EQ(run.end, 2 * kLength);
}

TEST(FileSpace, TheEndOfTheOnlyDataIsFoundAndOfSeveralTheEndOfTheFile) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  const int fd = ::open(name.c_str(), O_RDWR | O_CLOEXEC);
  const HostFile owner(fd, {});
  EXPECT_EQ(FileSpace::end_of_data(fd, 0), 0u);
  ASSERT_EQ(ftruncate(fd, 4 * kLength), 0);
  EXPECT_EQ(FileSpace::end_of_data(fd, 4 * kLength), 0u);
  ASSERT_EQ(pwrite(fd, "x", 1, 0), 1);
  const uint64_t end = FileSpace::end_of_data(fd, 4 * kLength);
  EXPECT_GT(end, 0u);
  EXPECT_LE(end, kLength);
  ASSERT_EQ(pwrite(fd, "x", 1, 2 * kLength), 1);
  EXPECT_EQ(FileSpace::end_of_data(fd, 4 * kLength), 4 * kLength);
}

TEST(FileSpace, OnlyLargeWritesIntoNewSpaceAreWorthPreparing) {
  HostFile file(-1, {});
  FileSpace space(&file, false, 1, kLength);
  EXPECT_FALSE(space.note_write(0, kLength));  // before the new part
  EXPECT_FALSE(space.note_write(kLength, 4096));
  EXPECT_FALSE(space.note_write(kLength, kLength));  // no longer new
  EXPECT_TRUE(space.note_write(2 * kLength, kLength));
  space.note_end(kLength);
  EXPECT_TRUE(space.note_write(2 * kLength, kLength));
}

TEST(FileSpace, AFileThatCannotBeWrittenIsLeftAlone) {
  Loop loop;
  HostFile file(::open("/dev/null", O_RDONLY | O_CLOEXEC), {});
  FileSpace space(&file, false, 1, 0);
  loop.run(space.prepare(0, kLength));
  EXPECT_EQ(file.close(), 0);
  loop.run(space.prepare(0, kLength));
}

}  // namespace
}  // namespace byre::storage
