// SPDX-License-Identifier: Apache-2.0
#include "open/raw_device.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/file_device.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::open {
namespace {

using byre::test::pattern;
using Contents = std::vector<uint8_t>;

struct Raw {
  explicit Raw(const Contents& contents) {
    auto memory = std::make_unique<storage::MemoryDevice>(ConstBytes(contents));
    file = memory.get();
    device = std::make_unique<RawDevice>(std::move(memory));
  }
  Contents read(uint64_t offset, size_t length) {
    Contents bytes(length, 0xee);
    sync_wait(device->read(offset, Bytes(bytes)));
    return bytes;
  }
  storage::MemoryDevice* file;
  std::unique_ptr<RawDevice> device;
};

TEST(RawDevice, ItsSizeIsWholeSectorsAndTheRestIsZeroes) {
  Raw raw(pattern(0, 1000, 1));
  EXPECT_EQ(raw.device->size(), 1024u);
  EXPECT_STREQ(raw.device->driver(), "raw");
  Contents want = pattern(0, 1000, 1);
  want.resize(1024);
  EXPECT_EQ(raw.read(0, 1024), want);
  EXPECT_EQ(raw.read(1000, 24), Contents(24));
  EXPECT_EQ(raw.read(990, 20), Contents(want.begin() + 990, want.begin() + 1010));
  EXPECT_THROW(raw.read(1000, 25), Error);
  EXPECT_EQ(Raw({}).device->size(), 0u);
  EXPECT_EQ(Raw(Contents(512)).device->size(), 512u);
}

TEST(RawDevice, WhatAnotherProcessAppendsToTheFileIsFound) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("raw", pattern(0, 1000, 1));
  Loop loop;
  RawDevice raw(loop.run(storage::FileDevice::open(name, {.force_share = true})));
  EXPECT_EQ(raw.size(), 1024u);
  folder.make("raw", pattern(0, 5000, 2));
  Contents bytes(4096);
  loop.run(raw.read(900, Bytes(bytes)));
  EXPECT_EQ(bytes, pattern(900, 4096, 2));
  loop.run(raw.close());
}

TEST(RawDevice, AWriteToTheLastSectorExtendsTheFile) {
  Raw raw(pattern(0, 1000, 1));
  const Contents bytes = pattern(0, 20, 2);
  sync_wait(raw.device->write(1000, ConstBytes(bytes)));
  EXPECT_EQ(raw.file->size(), 1020u);
  EXPECT_EQ(raw.device->size(), 1024u);
  EXPECT_EQ(raw.file->get(1000, 20), bytes);
  sync_wait(raw.device->write_zeroes(0, 10, WriteFlags::kNone));
  EXPECT_EQ(raw.file->get(0, 10), Contents(10));
  sync_wait(raw.device->discard(512, 512));
  EXPECT_EQ(raw.file->size(), 1020u);
  sync_wait(raw.device->resize(4096, Preallocation::kOff));
  EXPECT_EQ(raw.device->size(), 4096u);
  sync_wait(raw.device->flush());
  sync_wait(raw.device->close());
}

TEST(RawDevice, ShowsDataHolesAndTheTailPastTheFilesEnd) {
  // In a disk in memory only what is written is data.
  auto memory = std::make_unique<storage::MemoryDevice>(3 * 4096 + 100);
  memory->put(4096, Contents(4096, 1));
  const BlockDevice& file = *memory;
  RawDevice device(std::move(memory));
  const auto extents = sync_wait(device.extents(0, device.size(), ExtentScope::kChain));
  ASSERT_EQ(extents.size(), 4u);
  uint64_t offset = 0;
  for (const Extent& extent : extents) {
    EXPECT_EQ(extent.offset, offset);
    EXPECT_EQ(extent.host_offset, offset);
    EXPECT_EQ(extent.file, &file);
    EXPECT_TRUE(extent.present);
    EXPECT_EQ(extent.data, offset == 4096);
    EXPECT_EQ(extent.zero, offset != 4096);
    offset += extent.length;
  }
  EXPECT_EQ(offset, device.size());
  EXPECT_EQ(sync_wait(device.extents(3 * 4096 + 200, 10, ExtentScope::kLayer)).size(), 1u);
  EXPECT_TRUE(sync_wait(device.extents(5, 0, ExtentScope::kLayer)).empty());
}

}  // namespace
}  // namespace byre::open
