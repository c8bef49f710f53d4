// SPDX-License-Identifier: Apache-2.0
// Opening, errors, extents, limits: everything that does not depend on how bytes are transferred.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "async/loop.h"
#include "async/ring.h"
#include "byre/error.h"
#include "storage/file_device.h"
#include "unit/support/file_size_limit.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

using test::FileSizeLimit;
using test::pattern;
using test::TemporaryFolder;
using Contents = std::vector<uint8_t>;

class FileDeviceOpen : public testing::Test {
 protected:
  std::unique_ptr<FileDevice> open(const std::string& name, FileOptions options) {
    return loop_.run(FileDevice::open(name, options));
  }
  // The message of opening, without the directory's name.
  Error error_of(const std::string& name, FileOptions options) {
    try {
      open(name, options);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << name << " opened";
    return Error(ErrorKind::kIo, 0, "");
  }
  template <class F>
  Error error_of_call(F call) {
    try {
      loop_.run(call());
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "no error";
    return Error(ErrorKind::kIo, 0, "");
  }

  TemporaryFolder folder_;
  Loop loop_;
};

TEST_F(FileDeviceOpen, ErrorsNameTheFileAndTheReason) {
  const std::string missing = folder_.file("missing");
  Error error = error_of(missing, {});
  EXPECT_EQ(error.message(), "Could not open '" + missing + "': No such file or directory");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_EQ(error.errno_value(), ENOENT);

  const std::string folder = folder_.file("");
  EXPECT_EQ(error_of(folder, {}).message(),
            "'" + folder + "': it is not a regular file, and the driver is 'file'");
  EXPECT_EQ(error_of(folder, {.writable = true}).message(),
            "Could not open '" + folder + "': Is a directory");
  EXPECT_EQ(error_of(folder, {.writable = true, .create = true}).message(),
            "Could not create '" + folder + "': Is a directory");

  const std::string fifo = folder_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(error_of(fifo, {}).message(),
            "'" + fifo + "': it is not a regular file, and the driver is 'file'");

  EXPECT_EQ(error_of("", {}).message(), "the file name is empty");

  const std::string file = folder_.make("file", {1, 2, 3});
  error = error_of(file + "/below", {});
  EXPECT_EQ(error.message(), "Could not open '" + file + "/below': Not a directory");
  error = error_of(file, {.writable = true, .create = true, .exclusive = true});
  EXPECT_EQ(error.message(), "Could not create '" + file + "': File exists");
  EXPECT_EQ(error.kind(), ErrorKind::kExists);
}

TEST_F(FileDeviceOpen, WhatANameHasToBeIsRefusedUnderTheNameOfItsDriver) {
  const std::string file = folder_.make("file", {1, 2, 3});
  for (const std::string& name : {file, folder_.file("")}) {
    EXPECT_EQ(error_of(name, {.driver = HostDriver::kHostDevice}).message(),
              "'" + name + "': it is not a device, and the driver is 'host_device'");
    EXPECT_EQ(error_of(name, {.driver = HostDriver::kHostCdrom}).message(),
              "'" + name + "': it is not a device, and the driver is 'host_cdrom'");
  }
  EXPECT_EQ(error_of("/dev/null", {.driver = HostDriver::kFile}).message(),
            "'/dev/null': it is not a regular file, and the driver is 'file'");
  EXPECT_STREQ(open("/dev/null", {})->driver(), "host_device");
  // There is no disc in it.
  const auto drive = open("/dev/null", {.driver = HostDriver::kHostCdrom});
  EXPECT_STREQ(drive->driver(), "host_cdrom");
  Contents bytes(0);
  const ReadBuffers to{Bytes(bytes)};
  EXPECT_EQ(error_of_call([&] { return drive->read(0, to); }).errno_value(), ENOMEDIUM);
}

TEST_F(FileDeviceOpen, AFileSystemWithoutDirectIoIsNamedSo) {
  const Error error = error_of("/proc/version", {.cache = CacheMode::kNone});
  EXPECT_EQ(error.data().code, "file-without-direct-io");
  EXPECT_EQ(error.message(),
            "Could not open '/proc/version': the cache mode is none, which needs O_DIRECT, and the "
            "file system does not support it; writeback does not need it");
}

TEST_F(FileDeviceOpen, AFileWithoutAnEndIsNoEmptyImage) {
  EXPECT_EQ(error_of("/proc/version", {}).message(),
            "'/proc/version': its end cannot be found: Invalid argument");
}

TEST_F(FileDeviceOpen, ARingThatCannotBeHadIsAnErrorOnlyWhereItWasAskedFor) {
  const std::string file = folder_.make("file", {1, 2, 3});
  Loop simulated({.seed = 1});
  EXPECT_THROW(simulated.run(FileDevice::open(file, {.io = IoBackend::kUring})), Error);
  const auto device = simulated.run(FileDevice::open(file, {}));
  Contents bytes(3);
  simulated.run(device->read(0, Bytes(bytes)));
  EXPECT_EQ(bytes, (Contents{1, 2, 3}));
}

TEST_F(FileDeviceOpen, ReadingWhatIsCachedNeedsNoRing) {
  const auto device = open(folder_.make("file", pattern(0, 70000, 1)), {});
  Contents bytes(70000);
  loop_.run(device->read(0, Bytes(bytes)));
  EXPECT_EQ(bytes, pattern(0, 70000, 1));
  EXPECT_EQ(loop_.event_source(), nullptr);
}

TEST_F(FileDeviceOpen, WithoutTheCacheTheRingIsUsedWhereTheHostAllowsOne) {
  setenv("BYRE_IO", "auto,nocache", 1);
  const auto device = open(folder_.make("file", pattern(0, 70000, 1)), {});
  unsetenv("BYRE_IO");
  Contents bytes(70000);
  loop_.run(device->read(0, Bytes(bytes)));
  EXPECT_EQ(bytes, pattern(0, 70000, 1));
  if (Ring::refusal() != 0) GTEST_SKIP() << "the host refuses io_uring";
  EXPECT_NE(loop_.event_source(), nullptr);
}

TEST_F(FileDeviceOpen, AReadOnlyFileTakesNoWrites) {
  const auto device = open(folder_.make("file", pattern(0, 100, 1)), {});
  const Contents bytes(10);
  const WriteBuffers from{ConstBytes(bytes)};
  EXPECT_TRUE(device->is_read_only());
  EXPECT_EQ(error_of_call([&] { return device->write(0, from); }).kind(), ErrorKind::kPermission);
  EXPECT_EQ(error_of_call([&] { return device->write_zeroes(0, 10, WriteFlags::kNone); }).kind(),
            ErrorKind::kPermission);
  EXPECT_EQ(error_of_call([&] { return device->discard(0, 10); }).kind(), ErrorKind::kPermission);
  EXPECT_EQ(error_of_call([&] { return device->resize(0, Preallocation::kOff); }).kind(),
            ErrorKind::kPermission);
  EXPECT_EQ(folder_.contents("file"), pattern(0, 100, 1));
}

TEST_F(FileDeviceOpen, ReadsPastTheEndAreRefused) {
  const auto device = open(folder_.make("file", pattern(0, 100, 1)), {});
  Contents bytes(10);
  const ReadBuffers to{Bytes(bytes)};
  EXPECT_EQ(error_of_call([&] { return device->read(91, to); }).kind(),
            ErrorKind::kInvalidArgument);
  EXPECT_EQ(error_of_call([&] { return device->read(UINT64_MAX - 3, to); }).kind(),
            ErrorKind::kInvalidArgument);
}

TEST_F(FileDeviceOpen, AWriteBeyondWhatAnyFileCanHoldIsRefused) {
  const auto device = open(folder_.file("file"), {.writable = true, .create = true});
  const Contents bytes(10);
  const WriteBuffers from{ConstBytes(bytes)};
  EXPECT_EQ(error_of_call([&] { return device->write(INT64_MAX - 5, from); }).kind(),
            ErrorKind::kInvalidArgument);
  EXPECT_EQ(
      error_of_call([&] { return device->resize(UINT64_MAX, Preallocation::kOff); }).data().code,
      "file-size-too-large");
}

TEST_F(FileDeviceOpen, ALockedFileIsNotEmptied) {
  const std::string file = folder_.make("file", pattern(0, 100, 1));
  const auto holder = open(file, {.writable = true});
  const Error error = error_of(file, {.writable = true, .create = true, .truncate = true});
  EXPECT_EQ(error.kind(), ErrorKind::kLocked);
  EXPECT_EQ(folder_.contents("file"), pattern(0, 100, 1));
  loop_.run(holder->close());
  const auto emptied = open(file, {.writable = true, .create = true, .truncate = true});
  EXPECT_EQ(emptied->size(), 0u);
  EXPECT_TRUE(folder_.contents("file").empty());
}

TEST_F(FileDeviceOpen, AFileIsTheSameUnderAllItsNames) {
  const std::string file = folder_.make("file", {1});
  ASSERT_EQ(link(file.c_str(), folder_.file("other").c_str()), 0);
  folder_.make("third", {1});
  const auto a = open(file, {});
  const auto b = open(folder_.file("other"), {});
  const auto c = open(folder_.file("third"), {});
  EXPECT_EQ(a->identity(), b->identity());
  EXPECT_NE(a->identity(), c->identity());
}

TEST_F(FileDeviceOpen, NullIsAHostDeviceWithoutASize) {
  const auto device = open("/dev/null", {.writable = true});
  EXPECT_STREQ(device->driver(), "host_device");
  EXPECT_EQ(device->size(), 0u);
  EXPECT_FALSE(device->limits().grows);
  loop_.run(device->flush());
  EXPECT_EQ(error_of_call([&] { return device->resize(5, Preallocation::kOff); }).message(),
            "'/dev/null': 5 bytes are needed; the device has 0 and cannot grow");
  EXPECT_EQ(error_of_call([&] { return device->resize(5, Preallocation::kFalloc); }).message(),
            "'/dev/null': preallocation is falloc, which is only for files; this is a device");
}

TEST_F(FileDeviceOpen, HolesAndDataAreToldApart) {
  const auto device = open(folder_.file("file"), {.writable = true, .create = true});
  loop_.run(device->resize(1 << 20, Preallocation::kOff));
  const Contents data = pattern(0, 65536, 1);
  loop_.run(device->write(262144, ConstBytes(data)));
  loop_.run(device->write(786432, ConstBytes(data)));
  std::vector<Extent> extents = loop_.run(device->extents(0, 1 << 20, ExtentScope::kChain));
  if (extents.size() == 1) GTEST_SKIP() << "the file system does not tell holes";
  std::vector<std::pair<uint64_t, bool>> starts;
  for (const Extent& extent : extents) {
    EXPECT_TRUE(extent.present);
    EXPECT_NE(extent.data, extent.zero);
    EXPECT_EQ(extent.host_offset, extent.offset);
    EXPECT_EQ(extent.file, device.get());
    starts.emplace_back(extent.offset, extent.data);
  }
  EXPECT_EQ(starts,
            (std::vector<std::pair<uint64_t, bool>>{
                {0, false}, {262144, true}, {327680, false}, {786432, true}, {851968, false}}));
  // From inside a run, and no further than requested.
  extents = loop_.run(device->extents(262145, 10, ExtentScope::kLayer));
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_TRUE(extents[0].data);
  EXPECT_EQ(extents[0].offset, 262145u);
  EXPECT_EQ(extents[0].length, 10u);
  EXPECT_TRUE(loop_.run(device->extents(5, 0, ExtentScope::kLayer)).empty());
}

TEST_F(FileDeviceOpen, UnmappedZeroesAndDiscardsGiveSpaceBack) {
  const auto device = open(folder_.file("file"), {.writable = true, .create = true});
  const Contents data = pattern(0, 1 << 20, 1);
  loop_.run(device->write(0, ConstBytes(data)));
  loop_.run(device->flush());
  const uint64_t full = *device->allocated_size();
  loop_.run(device->write_zeroes(0, 1 << 19, WriteFlags::kMayUnmap));
  const uint64_t half = *device->allocated_size();
  if (half == full) GTEST_SKIP() << "the file system punches no holes";
  EXPECT_LE(half + (1 << 19), full + 65536);
  loop_.run(device->discard(0, 1 << 20));
  EXPECT_LT(*device->allocated_size(), half);
  EXPECT_EQ(device->size(), uint64_t{1} << 20);
}

TEST_F(FileDeviceOpen, PreallocationOnlyGrowsAndKnowsNoMetadata) {
  const auto device = open(folder_.make("file", pattern(0, 100, 1)), {.writable = true});
  EXPECT_EQ(error_of_call([&] { return device->resize(50, Preallocation::kFull); }).data().code,
            "file-shrink-with-preallocation");
  EXPECT_EQ(
      error_of_call([&] { return device->resize(500, Preallocation::kMetadata); }).data().code,
      "file-preallocation-unsupported");
  EXPECT_EQ(device->size(), 100u);
}

TEST_F(FileDeviceOpen, AWriteThatTheHostCutsShortEndsInItsError) {
  const auto device = open(folder_.file("file"), {.writable = true, .create = true});
  const FileSizeLimit limit(65536);
  for (const size_t length : {size_t{100000}, size_t{3000000}}) {
    const Contents data = pattern(0, length, 1);
    const WriteBuffers from{ConstBytes(data)};
    const Error error = error_of_call([&] { return device->write(0, from); });
    EXPECT_EQ(error.errno_value(), EFBIG);
    EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
  }
}

TEST_F(FileDeviceOpen, AResizeThatFindsNoSpaceLeavesTheSize) {
  const auto device = open(folder_.make("file", pattern(0, 1000, 1)), {.writable = true});
  const FileSizeLimit limit(65536);
  EXPECT_EQ(error_of_call([&] { return device->resize(100000, Preallocation::kOff); }).message(),
            "'" + device->filename() + "': it cannot be resized to 100000 bytes: File too large");
  EXPECT_EQ(error_of_call([&] { return device->resize(100000, Preallocation::kFalloc); }).message(),
            "'" + device->filename() +
                "': 99000 bytes at offset 1000 cannot be preallocated: File too large");
  EXPECT_EQ(device->size(), 1000u);
  EXPECT_EQ(folder_.contents("file"), pattern(0, 1000, 1));
}

}  // namespace
}  // namespace byre::storage
