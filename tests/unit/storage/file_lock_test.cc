// SPDX-License-Identifier: Apache-2.0
#include "storage/file_lock.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/file_device.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

// A separate descriptor, whose locks are independent of all others.
class OpenFile {
 public:
  explicit OpenFile(const std::string& name) : fd_(::open(name.c_str(), O_RDWR | O_CLOEXEC)) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

class FileLock : public testing::Test {
 protected:
  FileLock() : name_(folder_.make("image", std::vector<uint8_t>(300))) {}

  // The message of the refusal; empty if both sets of locks can be held.
  std::string refusal(LockPermissions first, LockPermissions second) {
    const OpenFile a(name_);
    const OpenFile b(name_);
    change_lock(a.fd(), "image", kLockNothing, first);
    try {
      change_lock(b.fd(), "image", kLockNothing, second);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kLocked);
      EXPECT_EQ(error.errno_value(), EAGAIN);
      return std::string(error.data().code) + " " + error.data().name;
    }
    return {};
  }

  test::TemporaryFolder folder_;
  std::string name_;
};

// Whether this byte is locked, as seen from a third descriptor.
bool is_locked(const std::string& name, off_t byte) {
  const OpenFile file(name);
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_start = byte;
  lock.l_len = 1;
  EXPECT_EQ(fcntl(file.fd(), F_OFD_GETLK, &lock), 0);
  return lock.l_type != F_UNLCK;
}

TEST_F(FileLock, LiesOnTheBytesThatQemuUses) {
  const OpenFile file(name_);
  change_lock(file.fd(), "image", kLockNothing, kLockWrite);
  std::string bytes;
  for (const off_t byte : {99, 100, 101, 102, 103, 104, 199, 200, 201, 202, 203, 204}) {
    if (is_locked(name_, byte)) bytes += std::to_string(byte) + " ";
  }
  EXPECT_EQ(bytes, "100 101 103 201 203 ");
}

TEST_F(FileLock, ReadersShare) {
  EXPECT_EQ(refusal(kLockRead, kLockRead), "");
  EXPECT_EQ(refusal(kLockRead, kLockInspect), "");
  EXPECT_EQ(refusal(kLockInspect, kLockInspect), "");
}

TEST_F(FileLock, AWriterKeepsReadersOutAndReadersAWriter) {
  EXPECT_EQ(refusal(kLockWrite, kLockRead), "file-permission-in-use write");
  EXPECT_EQ(refusal(kLockWrite, kLockInspect), "file-permission-in-use write");
  EXPECT_EQ(refusal(kLockRead, kLockWrite), "file-permission-refused write");
  EXPECT_EQ(refusal(kLockWrite, kLockWrite), "file-permission-refused write");
}

TEST_F(FileLock, NobodyMakesAFileAnewThatIsInUse) {
  EXPECT_EQ(refusal(kLockRead, kLockCreate), "file-permission-refused write");
  EXPECT_EQ(refusal(kLockWrite, kLockCreate), "file-permission-refused write");
  EXPECT_EQ(refusal(kLockCreate, kLockRead), "file-permission-in-use write");
  EXPECT_EQ(refusal(kLockCreate, kLockCreate), "file-permission-refused resize");
}

TEST_F(FileLock, RawImagesAreSharedAsQemuSharesThem) {
  EXPECT_EQ(refusal(kLockWriteRaw, kLockReadRaw), "");
  EXPECT_EQ(refusal(kLockWriteRaw, kLockWriteRaw), "");
  EXPECT_EQ(refusal(kLockWriteRaw, kLockRead), "file-permission-in-use write");
}

TEST_F(FileLock, ARefusalNamesTheHolder) {
  const OpenFile a(name_);
  const OpenFile b(name_);
  change_lock(a.fd(), "image", kLockNothing, kLockWrite);
  try {
    change_lock(b.fd(), "image", kLockNothing, kLockRead);
    FAIL() << "no conflict";
  } catch (const Error& error) {
    EXPECT_THAT(error.hint(), testing::HasSubstr("(process " + std::to_string(getpid()) + ")"));
    EXPECT_THAT(error.hint(), testing::StartsWith("'image' is held by '"));
    EXPECT_EQ(error.message(),
              "'image': another process uses its permission \"write\", which would have to be "
              "unused while the file is open here");
  }
}

TEST_F(FileLock, AnExclusiveLockOfSomethingElseIsNamedByItsByte) {
  for (const auto& [byte, wanted] : {std::pair{101, kLockWrite}, {203, kLockRead}}) {
    const OpenFile a(name_);
    const OpenFile b(name_);
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_start = byte;
    lock.l_len = 1;
    ASSERT_EQ(fcntl(a.fd(), F_OFD_SETLK, &lock), 0);
    try {
      change_lock(b.fd(), "image", kLockNothing, wanted);
      FAIL() << "no conflict";
    } catch (const Error& error) {
      EXPECT_EQ(error.data().code, "file-locked-exclusively");
      EXPECT_EQ(error.data().offset, static_cast<uint64_t>(byte));
      EXPECT_THAT(error.hint(), testing::HasSubstr("(process " + std::to_string(getpid()) + ")"));
    }
    EXPECT_FALSE(is_locked(name_, 100));
  }
}

TEST_F(FileLock, ARefusalLeavesNothingBehind) {
  const OpenFile a(name_);
  const OpenFile b(name_);
  change_lock(a.fd(), "image", kLockNothing, kLockRead);
  EXPECT_THROW(change_lock(b.fd(), "image", kLockNothing, kLockWrite), Error);
  change_lock(a.fd(), "image", kLockRead, kLockNothing);
  for (const off_t byte : {100, 101, 103, 201, 203}) EXPECT_FALSE(is_locked(name_, byte)) << byte;
}

// A descriptor that is not open for reading supports no such locks, like a file system without
// them.
TEST_F(FileLock, WhereThereAreNoLocksAFileIsUsedWithoutUnlessTheyAreRequired) {
  const int fd = ::open(name_.c_str(), O_WRONLY | O_CLOEXEC);
  change_lock(fd, "image", kLockNothing, kLockWrite);
  EXPECT_FALSE(is_locked(name_, 100));
  try {
    change_lock(fd, "image", kLockNothing, kLockWrite, true);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), EBADF);
    EXPECT_EQ(error.message(), "'image': byte 100 cannot be locked: Bad file descriptor");
  }
  ::close(fd);
}

TEST_F(FileLock, ChangesHoldWhatIsWantedAndNoMore) {
  const OpenFile file(name_);
  change_lock(file.fd(), "image", kLockNothing, kLockWrite);
  change_lock(file.fd(), "image", kLockWrite, kLockRead);
  EXPECT_TRUE(is_locked(name_, 100));
  EXPECT_FALSE(is_locked(name_, 101));
  EXPECT_FALSE(is_locked(name_, 103));
  EXPECT_TRUE(is_locked(name_, 201));
}

TEST_F(FileLock, DevicesTakeItsLocksUnlessTheyShareByForce) {
  Loop loop;
  const auto writer = loop.run(FileDevice::open(name_, {.writable = true}));
  EXPECT_THROW(loop.run(FileDevice::open(name_, {})), Error);
  const auto forced = loop.run(FileDevice::open(name_, {.force_share = true}));
  EXPECT_EQ(forced->size(), 300u);
  loop.run(writer->close());
  const auto reader = loop.run(FileDevice::open(name_, {}));
  EXPECT_THROW(loop.run(FileDevice::open(name_, {.writable = true})), Error);
  reader->set_lock(kLockNothing);
  const auto again = loop.run(FileDevice::open(name_, {.writable = true}));
  EXPECT_THROW(reader->set_lock(kLockRead), Error);
  EXPECT_FALSE(again->is_read_only());
}

}  // namespace
}  // namespace byre::storage
