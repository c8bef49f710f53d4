// SPDX-License-Identifier: Apache-2.0
#include "storage/file_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <map>
#include <random>

#include "async/loop.h"
#include "async/ring.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

using test::pattern;
using test::TemporaryFolder;
using Contents = std::vector<uint8_t>;

// Forces the environment's choice for the life of a test.
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

// Every test runs with each backend, each cache mode, and with the page cache left aside.
class FileDeviceWays : public testing::TestWithParam<Way> {
 protected:
  FileDeviceWays() : environment_(GetParam().environment) {}

  void SetUp() override {
    folder_.make("probe", Contents(4096));
    try {
      open("probe", {});
    } catch (const Error& error) {
      if (error.errno_value() != EINVAL && Ring::refusal() == 0) throw;
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
  const std::vector<size_t> lengths = {1, 7, 511, 512, 513, 4095, 4096, 4097, 65536, 100000, 1500000};
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

INSTANTIATE_TEST_SUITE_P(
    All, FileDeviceWays,
    testing::Values(Way{"auto", CacheMode::kWriteback}, Way{"auto", CacheMode::kWritethrough},
                    Way{"auto", CacheMode::kUnsafe}, Way{"auto", CacheMode::kNone},
                    Way{"auto", CacheMode::kDirectsync}, Way{"uring,nocache", CacheMode::kWriteback},
                    Way{"uring,nocache", CacheMode::kWritethrough},
                    Way{"uring,nocache", CacheMode::kNone},
                    Way{"threads,nocache", CacheMode::kWriteback},
                    Way{"threads,nocache", CacheMode::kWritethrough},
                    Way{"threads,nocache", CacheMode::kNone}),
    way_name);

}  // namespace
}  // namespace byre::storage
