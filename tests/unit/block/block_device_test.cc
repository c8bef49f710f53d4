// SPDX-License-Identifier: Apache-2.0
#include "block/block_device.h"

#include <gtest/gtest.h>

#include <string>

#include "byre/error.h"

namespace byre {
namespace {

// Has only the checks that are common to all devices.
class Checks : public BlockDevice {
 public:
  Checks(uint64_t size, bool grows, bool read_only) : size_(size), read_only_(read_only) {
    limits_.grows = grows;
  }
  const std::string& filename() const override { return name_; }
  const char* driver() const override { return "checks"; }
  uint64_t size() const override { return size_; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return read_only_; }
  Task<void> read(uint64_t, IoVector) override { co_return; }
  Task<void> write(uint64_t, IoVector, WriteFlags) override { co_return; }
  Task<void> write_zeroes(uint64_t, uint64_t, WriteFlags) override { co_return; }
  Task<void> discard(uint64_t, uint64_t) override { co_return; }
  Task<void> flush() override { co_return; }
  Task<std::vector<Extent>> extents(uint64_t, uint64_t, ExtentScope) override {
    co_return std::vector<Extent>();
  }
  Task<void> resize(uint64_t, Preallocation) override { co_return; }
  Task<void> close() override { co_return; }

  bool allows_read(uint64_t offset, uint64_t length) const {
    try {
      check_range(offset, length);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
      return false;
    }
    return true;
  }
  bool allows_write(uint64_t offset, uint64_t length) const {
    try {
      check_writable(offset, length);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), read_only_ ? ErrorKind::kPermission : ErrorKind::kInvalidArgument);
      return false;
    }
    return true;
  }

 private:
  std::string name_ = "checks";
  uint64_t size_;
  Limits limits_;
  bool read_only_;
};

TEST(BlockDevice, RangesLieInsideIt) {
  const Checks device(100, false, false);
  EXPECT_TRUE(device.allows_read(0, 100));
  EXPECT_TRUE(device.allows_read(100, 0));
  EXPECT_FALSE(device.allows_read(100, 1));
  EXPECT_FALSE(device.allows_read(101, 0));
  EXPECT_FALSE(device.allows_read(1, UINT64_MAX));
  EXPECT_TRUE(device.allows_write(99, 1));
  EXPECT_FALSE(device.allows_write(99, 2));
}

TEST(BlockDevice, WritesMayPassTheEndOfOneThatGrowsAndReadsMayNot) {
  const Checks device(100, true, false);
  EXPECT_FALSE(device.allows_read(99, 2));
  EXPECT_TRUE(device.allows_write(99, 2));
  EXPECT_TRUE(device.allows_write(1 << 30, 5));
  EXPECT_TRUE(device.allows_write(BlockDevice::kSizeMax - 1, 1));
  EXPECT_FALSE(device.allows_write(BlockDevice::kSizeMax, 1));
  EXPECT_FALSE(device.allows_write(5, UINT64_MAX));
}

TEST(BlockDevice, AReadOnlyOneTakesNoWriteAtAll) {
  const Checks device(100, true, true);
  EXPECT_TRUE(device.allows_read(0, 1));
  EXPECT_FALSE(device.allows_write(0, 1));
}

}  // namespace
}  // namespace byre
