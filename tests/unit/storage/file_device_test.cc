// SPDX-License-Identifier: Apache-2.0
#include "storage/file_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <random>
#include <string_view>

#include "async/loop.h"
#include "async/ring.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "unit/support/file_size_limit.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

using test::pattern;
using test::TemporaryFolder;
using Contents = std::vector<uint8_t>;

// Overrides the environment's choice for the duration of a test.
class Environment {
 public:
  explicit Environment(const char* value) { setenv("BYRE_IO", value, 1); }
  ~Environment() { unsetenv("BYRE_IO"); }
};

struct Way {
  const char* environment;
  CacheMode cache;
};

std::string way_name(const testing::TestParamInfo<Way>& info) {
  std::string name = info.param.environment;
  for (char& c : name) c = c == ',' ? '_' : c;
  return name + "_" + cache_mode_name(info.param.cache);
}

// Every test runs with each backend, each cache mode, and with the page cache bypassed.
class FileDeviceWays : public testing::TestWithParam<Way> {
 protected:
  FileDeviceWays() : environment_(GetParam().environment) {}

  void SetUp() override {
    folder_.make("probe", Contents(4096));
    try {
      open("probe", {});
    } catch (const Error& error) {
      const bool no_direct = error.errno_value() == EINVAL && is_direct(GetParam().cache);
      const bool no_ring = Ring::refusal() != 0 && error.errno_value() == Ring::refusal() &&
                           std::string_view(GetParam().environment).starts_with("uring");
      if (!no_direct && !no_ring) throw;
      std::cout << "SKIPPED, the host refuses it: " << error.message() << "\n";
      GTEST_SKIP() << error.message();
    }
  }

  std::unique_ptr<FileDevice> open(const std::string& name, FileOptions options) {
    options.cache = GetParam().cache;
    return loop_.run(FileDevice::open(folder_.file(name), options));
  }
  std::unique_ptr<FileDevice> create(const std::string& name) {
    return open(name, {.writable = true, .create = true, .exclusive = true});
  }
  Contents read(FileDevice& device, uint64_t offset, size_t length) {
    Contents bytes(length, 0xee);
    loop_.run(device.read(offset, Bytes(bytes)));
    return bytes;
  }
  void write(FileDevice& device, uint64_t offset, const Contents& bytes) {
    loop_.run(device.write(offset, ConstBytes(bytes)));
  }

  Environment environment_;
  TemporaryFolder folder_;
  Loop loop_;
};

TEST_P(FileDeviceWays, WhatWasWrittenIsReadAtAnyOffsetAndLength) {
  const auto device = create("disk");
  Contents model;
  std::mt19937_64 random(7);
  const std::vector<size_t> lengths = {1,    7,    511,   512,    513,    4095,
                                       4096, 4097, 65536, 100000, 1500000};
  for (uint64_t round = 0; round < 60; ++round) {
    const size_t length = lengths[random() % lengths.size()];
    const uint64_t offset = random() % 300000 / (random() % 2 == 0 ? 1 : 4096) *
                            (random() % 3 == 0 ? 4096 : 1) % 300000;
    const Contents bytes = pattern(offset, length, round);
    write(*device, offset, bytes);
    model.resize(std::max(model.size(), offset + length));
    std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<ptrdiff_t>(offset));
    ASSERT_EQ(device->size(), model.size());
    const uint64_t start = random() % model.size();
    const size_t part = std::min<size_t>(1 + random() % 200000, model.size() - start);
    const auto from = model.begin() + static_cast<ptrdiff_t>(start);
    ASSERT_EQ(read(*device, start, part), Contents(from, from + static_cast<ptrdiff_t>(part)));
  }
  loop_.run(device->flush());
  loop_.run(device->close());
  EXPECT_EQ(folder_.contents("disk"), model);
}

Task<void> write_then_read_back(FileDevice* device, uint64_t offset, size_t length, uint64_t seed,
                                int* wrong) {
  const Contents bytes = pattern(offset, length, seed);
  co_await device->write(offset, ConstBytes(bytes));
  Contents back(length);
  co_await device->read(offset, Bytes(back));
  if (back != bytes) ++*wrong;
}

TEST_P(FileDeviceWays, ManyRequestsAtOnceThatShareBlocksDoNotDisturbOneAnother) {
  const auto device = create("disk");
  int wrong = 0;
  std::vector<Task<void>> tasks;
  Contents model;
  // Adjacent writes that share a block, and more than the ring has entries.
  for (uint64_t i = 0; i < 300; ++i) {
    const uint64_t offset = i * 1000;
    tasks.push_back(write_then_read_back(device.get(), offset, 1000, 5, &wrong));
  }
  loop_.run(when_all(std::move(tasks)));
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(device->size(), 300000u);
  EXPECT_EQ(folder_.contents("disk"), pattern(0, 300000, 5));
}

TEST_P(FileDeviceWays, RequestsOfManySegmentsAreWhole) {
  const auto device = create("disk");
  const Contents bytes = pattern(0, 3000 * 48, 1);
  Contents scattered(3000 * 50);
  ReadBuffers vector;
  for (size_t i = 0; i < 3000; ++i) {
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(i * 48), 48,
                scattered.begin() + static_cast<ptrdiff_t>(i * 50));
    vector.append(scattered.data() + i * 50, 48);
  }
  loop_.run(device->write(0, vector));
  EXPECT_EQ(read(*device, 0, bytes.size()), bytes);
  for (size_t i = 0; i < 3000; ++i)
    std::fill_n(scattered.begin() + static_cast<ptrdiff_t>(i * 50), 48, 0);
  loop_.run(device->read(0, vector));
  Contents gathered;
  for (const iovec& segment : vector.segments()) {
    const auto* from = static_cast<const uint8_t*>(segment.iov_base);
    gathered.insert(gathered.end(), from, from + segment.iov_len);
  }
  EXPECT_EQ(gathered, bytes);
}

TEST_P(FileDeviceWays, ZeroesAreWrittenAtAnyPlaceInEveryManner) {
  for (const WriteFlags flags : {WriteFlags::kNone, WriteFlags::kMayUnmap, WriteFlags::kFua}) {
    const auto device = open("disk", {.writable = true, .create = true, .truncate = true});
    Contents model = pattern(0, 200000, 2);
    write(*device, 0, model);
    const std::vector<std::pair<uint64_t, uint64_t>> ranges = {
        {0, 1}, {4096, 4096}, {5000, 3}, {65536, 65536}, {100001, 31111}, {199999, 1}, {190000, 0}};
    for (const auto& [offset, length] : ranges) {
      loop_.run(device->write_zeroes(offset, length, flags));
      std::fill_n(model.begin() + static_cast<ptrdiff_t>(offset), length, 0);
    }
    EXPECT_EQ(device->size(), 200000u);
    EXPECT_EQ(read(*device, 0, model.size()), model);
    // Across the end, and past it.
    loop_.run(device->write_zeroes(150000, 100001, flags));
    std::fill(model.begin() + 150000, model.end(), 0);
    model.resize(250001, 0);
    loop_.run(device->write_zeroes(300000, 5, flags));
    model.resize(300005, 0);
    EXPECT_EQ(device->size(), model.size());
    EXPECT_EQ(read(*device, 0, model.size()), model);
    EXPECT_EQ(folder_.contents("disk"), model);
  }
}

TEST_P(FileDeviceWays, ASizeIsSetUpAndDownAndNewBytesAreZero) {
  const auto device = create("disk");
  write(*device, 0, pattern(0, 10000, 3));
  loop_.run(device->resize(5001, Preallocation::kOff));
  EXPECT_EQ(device->size(), 5001u);
  loop_.run(device->resize(20003, Preallocation::kOff));
  Contents model = pattern(0, 5001, 3);
  model.resize(20003, 0);
  EXPECT_EQ(read(*device, 0, 20003), model);
  for (const Preallocation preallocation : {Preallocation::kFalloc, Preallocation::kFull}) {
    const uint64_t size = device->size() + 1000001;
    loop_.run(device->resize(size, preallocation));
    model.resize(size, 0);
    EXPECT_EQ(device->size(), size);
    EXPECT_EQ(read(*device, 0, size), model);
    EXPECT_GE(*device->allocated_size(), 1000000u);
  }
  EXPECT_EQ(folder_.contents("disk"), model);
}

TEST_P(FileDeviceWays, APreallocationThatFailsCutsOffWhatItMadeAndNothingElse) {
  for (const bool is_written_to : {false, true}) {
    const std::string name = is_written_to ? "written to" : "alone";
    const auto device = create(name);
    write(*device, 0, pattern(0, 4096, 1));
    const Contents bytes = pattern(0, 4096, 2);
    std::vector<Task<void>> tasks;
    tasks.push_back(device->resize(64 << 20, Preallocation::kFull));
    if (is_written_to) tasks.push_back(device->write(8 << 20, ConstBytes(bytes)));
    {
      const test::FileSizeLimit limit(16 << 20);
      EXPECT_THROW(loop_.run(when_all(std::move(tasks))), Error);
    }
    if (is_written_to) {
      EXPECT_GE(device->size(), (8u << 20) + 4096);
      EXPECT_EQ(read(*device, 8 << 20, 4096).size(), 4096u);
    } else {
      EXPECT_EQ(device->size(), 4096u);
    }
    EXPECT_EQ(read(*device, 0, 4096), pattern(0, 4096, 1));
    EXPECT_EQ(folder_.contents(name).size(), device->size());
  }
}

TEST_P(FileDeviceWays, APreallocationThatFailsKeepsWhatEveryOtherRequestHasAdded) {
  constexpr uint64_t kPlace = 8 << 20;
  constexpr uint64_t kLength = 1 << 20;
  const Contents bytes = pattern(kPlace, kLength, 2);
  folder_.make("source", bytes);
  const int source = ::open(folder_.file("source").c_str(), O_RDONLY | O_CLOEXEC);
  const auto copy = [](FileDevice* device, int fd) -> Task<void> {
    const bool is_copied = co_await device->copy_from({fd, 0}, kPlace, kLength);
    if (!is_copied) co_await device->write_zeroes(kPlace, kLength, WriteFlags::kNone);
  };
  for (const char* const kind : {"write", "zeroes", "copy", "reserve"}) {
    for (const bool is_first : {false, true}) {
      const std::string name = std::string(kind) + (is_first ? " first" : "");
      SCOPED_TRACE(name);
      const auto device = create(name);
      write(*device, 0, pattern(0, 4096, 1));
      const auto start = [&, what = std::string(kind)] {
        if (what == "write") return device->write(kPlace, ConstBytes(bytes));
        if (what == "zeroes") return device->write_zeroes(kPlace, kLength, WriteFlags::kNone);
        if (what == "copy") return copy(device.get(), source);
        return device->reserve_space(kPlace, kLength);
      };
      std::vector<Task<void>> tasks;
      if (is_first) tasks.push_back(start());
      tasks.push_back(device->resize(64 << 20, Preallocation::kFalloc));
      if (!is_first) tasks.push_back(start());
      {
        const test::FileSizeLimit limit(16 << 20);
        EXPECT_THROW(loop_.run(when_all(std::move(tasks))), Error);
      }
      ASSERT_GE(device->size(), kPlace + kLength);
      EXPECT_EQ(folder_.contents(name).size(), device->size());
      EXPECT_EQ(read(*device, 0, 4096), pattern(0, 4096, 1));
      const Contents stored = read(*device, kPlace, kLength);
      EXPECT_TRUE(stored == bytes || stored == Contents(kLength));
      if (kind == std::string("write")) EXPECT_TRUE(stored == bytes);
    }
  }
  ::close(source);
}

TEST_P(FileDeviceWays, BytesThatSomebodyElseCutOffReadAsZeroes) {
  const auto device = create("disk");
  write(*device, 0, pattern(0, 100000, 4));
  ASSERT_EQ(truncate(folder_.file("disk").c_str(), 50001), 0);
  Contents model = pattern(0, 50001, 4);
  model.resize(100000, 0);
  EXPECT_EQ(read(*device, 0, 100000), model);
  EXPECT_EQ(read(*device, 90000, 10000), Contents(10000));
}

TEST_P(FileDeviceWays, BytesThatSomebodyElseAppendedAreFound) {
  folder_.make("disk", pattern(0, 1000, 6));
  const auto device = open("disk", {});
  folder_.make("disk", pattern(0, 9000, 6));
  EXPECT_EQ(read(*device, 500, 8500), pattern(500, 8500, 6));
  EXPECT_EQ(device->size(), 9000u);
}

Task<void> close_meanwhile(FileDevice* device) {
  co_await device->close();
}

TEST_P(FileDeviceWays, CloseWaitsForWhatIsInFlightAndThenNothingIsTaken) {
  const auto device = create("disk");
  const Contents data = pattern(0, 4 << 20, 9);
  const WriteBuffers from{ConstBytes(data)};
  std::vector<Task<void>> tasks;
  tasks.push_back(device->write(0, from, WriteFlags::kNone));
  tasks.push_back(device->write_zeroes(8 << 20, 1 << 20, WriteFlags::kFua));
  tasks.push_back(close_meanwhile(device.get()));
  loop_.run(when_all(std::move(tasks)));
  const Contents written = folder_.contents("disk");
  ASSERT_EQ(written.size(), size_t{9} << 20);
  EXPECT_TRUE(std::equal(data.begin(), data.end(), written.begin()));
  Contents bytes(512);
  const ReadBuffers to{Bytes(bytes)};
  EXPECT_THROW(loop_.run(device->read(0, to)), Error);
  EXPECT_THROW(loop_.run(device->write(0, to)), Error);
  EXPECT_THROW(loop_.run(device->write_zeroes(0, 512, WriteFlags::kNone)), Error);
  EXPECT_THROW(loop_.run(device->discard(0, 512)), Error);
  EXPECT_THROW(loop_.run(device->flush()), Error);
  EXPECT_THROW(loop_.run(device->resize(0, Preallocation::kOff)), Error);
  loop_.run(device->close());
  EXPECT_EQ(folder_.contents("disk"), written);
}

INSTANTIATE_TEST_SUITE_P(All, FileDeviceWays,
                         testing::Values(Way{"auto", CacheMode::kWriteback},
                                         Way{"auto", CacheMode::kWritethrough},
                                         Way{"auto", CacheMode::kUnsafe},
                                         Way{"auto", CacheMode::kNone},
                                         Way{"auto", CacheMode::kDirectsync},
                                         Way{"uring,nocache", CacheMode::kWriteback},
                                         Way{"uring,nocache", CacheMode::kWritethrough},
                                         Way{"uring,nocache", CacheMode::kNone},
                                         Way{"threads,nocache", CacheMode::kWriteback},
                                         Way{"threads,nocache", CacheMode::kWritethrough},
                                         Way{"threads,nocache", CacheMode::kNone}),
                         way_name);

}  // namespace
}  // namespace byre::storage
