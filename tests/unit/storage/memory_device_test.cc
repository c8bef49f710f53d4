// SPDX-License-Identifier: Apache-2.0
#include "storage/memory_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "async/loop.h"
#include "base/units.h"
#include "byre/error.h"
#include "unit/support/pattern.h"

namespace byre::storage {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

TEST(MemoryDevice, HoldsWhatAModelHolds) {
  Loop loop;
  MemoryDevice device;
  Contents model;
  std::mt19937_64 random(3);
  for (uint64_t round = 0; round < 300; ++round) {
    const uint64_t offset = random() % 60000;
    const size_t length = random() % 20000;
    if (round % 3 == 0) {
      loop.run(device.write_zeroes(offset, length, WriteFlags::kNone));
    } else {
      const Contents bytes = pattern(offset, length, round);
      loop.run(device.write(offset, ConstBytes(bytes)));
    }
    if (length != 0) model.resize(std::max<size_t>(model.size(), offset + length));
    for (size_t i = 0; i < length; ++i) {
      model[offset + i] = round % 3 == 0 ? 0 : test::pattern_byte(offset + i, round);
    }
    ASSERT_EQ(device.size(), model.size());
    Contents back(model.size(), 0xee);
    loop.run(device.read(0, Bytes(back)));
    ASSERT_EQ(back, model);
  }
  EXPECT_EQ(device.get(0, model.size()), model);
  EXPECT_EQ(device.clone()->get(0, model.size()), model);
}

TEST(MemoryDevice, ManyTebibytesCostNothingUntilTheyAreWritten) {
  Loop loop;
  MemoryDevice device(BlockDevice::kSizeMax);
  EXPECT_EQ(device.allocated_size(), 0u);
  const Contents bytes = pattern(0, 5, 1);
  loop.run(device.write(8 * 1024 * kTiB, ConstBytes(bytes)));
  EXPECT_EQ(device.allocated_size(), MemoryDevice::kChunkSize);
  EXPECT_EQ(device.get(8 * 1024 * kTiB - 1, 7),
            (Contents{0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], 0}));
  const std::vector<Extent> extents =
      loop.run(device.extents(0, device.size(), ExtentScope::kLayer));
  ASSERT_EQ(extents.size(), 3u);
  EXPECT_TRUE(extents[0].zero);
  EXPECT_TRUE(extents[1].data);
  EXPECT_EQ(extents[1].offset, 8 * 1024 * kTiB);
  EXPECT_EQ(extents[1].length, MemoryDevice::kChunkSize);
  EXPECT_EQ(extents[2].offset + extents[2].length, device.size());
}

TEST(MemoryDevice, ExtentsCoverTheRangeWithoutGaps) {
  Loop loop;
  MemoryDevice device(100000);
  const Contents bytes = pattern(0, 4096, 1);
  for (const uint64_t chunk : {1, 2, 5}) device.put(chunk * 4096, bytes);
  const std::vector<Extent> extents = loop.run(device.extents(5000, 90001, ExtentScope::kChain));
  uint64_t at = 5000;
  for (const Extent& extent : extents) {
    EXPECT_EQ(extent.offset, at);
    EXPECT_NE(extent.data, extent.zero);
    EXPECT_EQ(extent.host_offset, at);
    EXPECT_EQ(extent.file, &device);
    at += extent.length;
  }
  EXPECT_EQ(at, 95001u);
  ASSERT_EQ(extents.size(), 4u);
  EXPECT_EQ(extents[0].length, 3 * 4096u - 5000u);
}

TEST(MemoryDevice, WhatIsCutOffDoesNotComeBack) {
  Loop loop;
  const Contents bytes = pattern(0, 10000, 1);
  MemoryDevice device{ConstBytes(bytes)};
  loop.run(device.resize(5000, Preallocation::kOff));
  loop.run(device.resize(10000, Preallocation::kOff));
  Contents model = pattern(0, 5000, 1);
  model.resize(10000);
  EXPECT_EQ(device.get(0, 10000), model);
  loop.run(device.discard(0, 4096));
  std::fill_n(model.begin(), 4096, 0);
  EXPECT_EQ(device.get(0, 10000), model);
}

TEST(MemoryDevice, RefusesWhatABlockDeviceRefuses) {
  Loop loop;
  MemoryDevice device(10);
  Contents bytes(11);
  EXPECT_THROW(loop.run(device.read(0, Bytes(bytes))), Error);
  EXPECT_THROW(loop.run(device.discard(5, 6)), Error);
  EXPECT_THROW(loop.run(device.write(BlockDevice::kSizeMax, ConstBytes(bytes))), Error);
  EXPECT_THROW(loop.run(device.resize(UINT64_MAX, Preallocation::kOff)), Error);
  EXPECT_THROW(loop.run(device.resize(20, Preallocation::kMetadata)), Error);
  EXPECT_THROW(loop.run(device.resize(5, Preallocation::kFalloc)), Error);
  device.set_read_only(true);
  EXPECT_THROW(loop.run(device.write(0, ConstBytes(bytes))), Error);
  EXPECT_THROW(loop.run(device.write_zeroes(0, 1, WriteFlags::kNone)), Error);
  EXPECT_THROW(loop.run(device.resize(1, Preallocation::kOff)), Error);
  EXPECT_EQ(device.size(), 10u);
}

}  // namespace
}  // namespace byre::storage
