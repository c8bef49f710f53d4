// SPDX-License-Identifier: Apache-2.0
#include "testing/fault_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "unit/support/pattern.h"

namespace byre::faults {
namespace {

using storage::MemoryDevice;
using test::pattern;
using Contents = std::vector<uint8_t>;

class FaultDeviceTest : public testing::Test {
 protected:
  FaultDeviceTest() : device_(std::make_unique<MemoryDevice>(100000)) {}

  // 0, or the errno of the error.
  int write(uint64_t offset, size_t length) {
    const Contents bytes = pattern(offset, length, 1);
    return error_of([&] { loop_.run(device_.write(offset, ConstBytes(bytes))); });
  }
  template <class F>
  int error_of(F call) {
    try {
      call();
    } catch (const Error& error) {
      return error.errno_value();
    }
    return 0;
  }
  MemoryDevice& memory() { return static_cast<MemoryDevice&>(device_.below()); }

  Loop loop_;
  FaultDevice device_;
};

TEST_F(FaultDeviceTest, TheNthWriteFailsAndNoOther) {
  device_.add_rule({.first = 3, .errno_value = ENOSPC});
  std::vector<int> errors;
  for (int i = 0; i < 5; ++i) errors.push_back(write(0, 10));
  EXPECT_EQ(errors, (std::vector<int>{0, 0, ENOSPC, 0, 0}));
  EXPECT_EQ(device_.count(Operation::kWrite), 5u);
}

TEST_F(FaultDeviceTest, AllFailFromTheNthOnUntilItHeals) {
  device_.add_rule({.operation = Operation::kFlush, .first = 2, .count = UINT64_MAX});
  const auto flush = [&] { return error_of([&] { loop_.run(device_.flush()); }); };
  EXPECT_EQ(flush(), 0);
  EXPECT_EQ(flush(), EIO);
  EXPECT_EQ(flush(), EIO);
  EXPECT_EQ(write(0, 1), 0);
  device_.heal();
  EXPECT_EQ(flush(), 0);
}

TEST_F(FaultDeviceTest, ARuleMayPickARange) {
  device_.add_rule(
      {.operation = Operation::kRead, .count = UINT64_MAX, .offset = 1000, .length = 10});
  Contents bytes(10);
  const auto read = [&](uint64_t offset) {
    return error_of([&] { loop_.run(device_.read(offset, Bytes(bytes))); });
  };
  EXPECT_EQ(read(990), 0);
  EXPECT_EQ(read(991), EIO);
  EXPECT_EQ(read(1009), EIO);
  EXPECT_EQ(read(1010), 0);
}

TEST_F(FaultDeviceTest, AFailedWriteChangesNothingOrIsTorn) {
  device_.add_rule({.first = 1});
  EXPECT_EQ(write(0, 100), EIO);
  EXPECT_EQ(memory().get(0, 100), Contents(100));
  // Torn at the sector that contains its middle: sectors are written whole or not at all.
  device_.add_rule({.first = 1, .written = Written::kHalf});
  EXPECT_EQ(write(0, 100), EIO);
  EXPECT_EQ(memory().get(0, 100), Contents(100));
  device_.add_rule({.first = 1, .written = Written::kHalf});
  EXPECT_EQ(write(0, 2048), EIO);
  Contents half = pattern(0, 1024, 1);
  half.resize(2048);
  EXPECT_EQ(memory().get(0, 2048), half);
}

TEST_F(FaultDeviceTest, AFullDiskRefusesWhatGrowsAndTakesWhatDoesNot) {
  device_.set_size_max(100100);
  EXPECT_EQ(write(0, 100), 0);
  EXPECT_EQ(write(100000, 100), 0);
  EXPECT_EQ(write(100050, 51), ENOSPC);
  EXPECT_EQ(write(UINT64_MAX / 4, 51), ENOSPC);
  EXPECT_EQ(error_of([&] { loop_.run(device_.resize(100101, Preallocation::kOff)); }), ENOSPC);
  EXPECT_EQ(error_of([&] { loop_.run(device_.write_zeroes(100099, 2, WriteFlags::kNone)); }),
            ENOSPC);
  EXPECT_EQ(error_of([&] { loop_.run(device_.resize(50, Preallocation::kOff)); }), 0);
}

TEST_F(FaultDeviceTest, ABudgetOfBytesRunsOut) {
  device_.set_write_budget(25);
  EXPECT_EQ(write(0, 10), 0);
  EXPECT_EQ(write(0, 10), 0);
  EXPECT_EQ(write(0, 10), ENOSPC);
  EXPECT_EQ(write(0, 5), 0);
  EXPECT_EQ(write(0, 1), ENOSPC);
}

TEST_F(FaultDeviceTest, EveryOperationCanFailAndIsNoted) {
  for (size_t i = 0; i < kOperationCount; ++i) {
    device_.add_rule({.operation = static_cast<Operation>(i), .errno_value = ENXIO});
  }
  Contents bytes(5);
  const ReadBuffers memory_of_five{Bytes(bytes)};
  EXPECT_EQ(error_of([&] { loop_.run(device_.read(1, memory_of_five)); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.write(2, memory_of_five, WriteFlags::kFua)); }),
            ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.write_zeroes(3, 4, WriteFlags::kNone)); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.discard(4, 5)); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.reserve_space(5, 6)); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.flush()); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.extents(5, 6, ExtentScope::kLayer)); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.resize(7, Preallocation::kOff)); }), ENXIO);
  EXPECT_EQ(error_of([&] { loop_.run(device_.close()); }), ENXIO);
  ASSERT_EQ(device_.events().size(), kOperationCount);
  for (size_t i = 0; i < kOperationCount; ++i) {
    EXPECT_EQ(device_.events()[i].operation, static_cast<Operation>(i));
    EXPECT_TRUE(device_.events()[i].failed);
  }
  EXPECT_EQ(device_.events()[1].offset, 2u);
  EXPECT_EQ(device_.events()[1].length, 5u);
  EXPECT_EQ(device_.events()[1].flags, WriteFlags::kFua);
  EXPECT_EQ(device_.events()[7].length, 7u);
  device_.clear_events();
  EXPECT_TRUE(device_.events().empty());
}

TEST_F(FaultDeviceTest, ExtentsLeadBackToIt) {
  const std::vector<Extent> extents = loop_.run(device_.extents(0, 100, ExtentScope::kLayer));
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_EQ(extents[0].file, &device_);
}

TEST_F(FaultDeviceTest, DelaysLetRequestsOvertakeOneAnotherTheSameWayEachTime) {
  const auto order = [](uint64_t seed) {
    Loop loop;
    FaultDevice device(std::make_unique<MemoryDevice>(100000));
    device.set_delays(seed, 10);
    const Contents bytes(10);
    std::vector<Task<void>> tasks;
    for (uint64_t i = 0; i < 20; ++i) {
      tasks.push_back(device.BlockDevice::write(i * 10, ConstBytes(bytes)));
    }
    loop.run(when_all(std::move(tasks)));
    std::vector<uint64_t> offsets;
    for (const FaultEvent& event : device.events()) offsets.push_back(event.offset);
    return offsets;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
  const std::vector<uint64_t> offsets = order(1);
  EXPECT_FALSE(std::is_sorted(offsets.begin(), offsets.end()));
}

}  // namespace
}  // namespace byre::faults
