// SPDX-License-Identifier: Apache-2.0
#include "qcow2/tables/table_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre::qcow2 {
namespace {

using byre::test::pattern;
using faults::FaultDevice;
using faults::Operation;
using testing::ElementsAre;

constexpr uint32_t kSlice = 512;

class TableCacheTest : public testing::Test {
 protected:
  TableCacheTest() {
    auto memory = std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, 100 * kSlice, 1)));
    memory_ = memory.get();
    auto file = std::make_unique<FaultDevice>(std::move(memory));
    file_ = file.get();
    storage_ = std::make_unique<Storage>(std::move(file));
  }

  TableCache make(uint64_t slices_max = 8) {
    return {storage_.get(), {"table", kSlice, slices_max}};
  }

  TableCache::Slice get(TableCache& cache, uint64_t index) {
    return sync_wait(cache.get(index * kSlice));
  }
  void change(TableCache& cache, uint64_t index, uint8_t value) {
    const TableCache::Slice slice = get(cache, index);
    std::ranges::fill(slice.bytes(), value);
    slice.mark_dirty();
  }
  uint8_t on_disk(uint64_t index) { return memory_->get(index * kSlice, 1).front(); }
  // "w3" for a write of slice 3, "f" for a flush, and so on.
  std::vector<std::string> changes() {
    std::vector<std::string> result;
    for (const faults::FaultEvent& event : file_->events()) {
      if (event.operation == Operation::kFlush) result.push_back("f");
      if (event.operation != Operation::kWrite) continue;
      std::string text = "w" + std::to_string(event.offset / kSlice);
      if (event.length > kSlice) text += "+" + std::to_string(event.length / kSlice - 1);
      result.push_back(text);
    }
    file_->clear_events();
    return result;
  }

  storage::MemoryDevice* memory_;
  FaultDevice* file_;
  std::unique_ptr<Storage> storage_;
};

TEST_F(TableCacheTest, ReadsASliceOnceAndFindsItAfterwards) {
  TableCache cache = make();
  EXPECT_FALSE(cache.find(kSlice));
  {
    const TableCache::Slice slice = get(cache, 1);
    EXPECT_EQ(slice.offset(), kSlice);
    EXPECT_TRUE(std::ranges::equal(slice.bytes(), pattern(kSlice, kSlice, 1)));
  }
  EXPECT_TRUE(cache.find(kSlice));
  EXPECT_TRUE(get(cache, 1));
  EXPECT_EQ(cache.reads(), 1u);
}

// A caller that checks has_dirty() before a flush must not take a slice for written while a
// write-back by another has it in flight.
TEST_F(TableCacheTest, ASliceThatIsBeingWrittenCountsAsDirty) {
  Loop::Options seeded;
  seeded.seed = 1;
  Loop loop(seeded);
  TableCache cache = make();
  change(cache, 1, 0xaa);
  file_->set_delays(1, 20);
  int wrong = 0;
  const auto watch = [](storage::MemoryDevice* disk, TableCache* watched,
                        int* count) -> Task<void> {
    while (disk->get(kSlice, 1).front() != 0xaa) {
      if (!watched->has_dirty()) ++*count;
      co_await Loop::current().yield();
    }
  };
  std::vector<Task<void>> tasks;
  tasks.push_back(cache.write_back());
  tasks.push_back(watch(memory_, &cache, &wrong));
  loop.run(when_all(std::move(tasks)));
  EXPECT_EQ(wrong, 0);
  EXPECT_FALSE(cache.has_dirty());
}

TEST_F(TableCacheTest, BytesPastTheEndOfTheFileAreZeroes) {
  memory_->put(100 * kSlice, std::vector<uint8_t>{7, 8});
  TableCache cache = make();
  const TableCache::Slice cut = get(cache, 100);
  EXPECT_EQ(cut.bytes()[1], 8);
  EXPECT_TRUE(is_all_zero(cut.bytes().subspan(2)));
  const TableCache::Slice beyond = get(cache, uint64_t{1} << 40);
  EXPECT_TRUE(is_all_zero(beyond.bytes()));
}

Task<void> get_into(TableCache* cache, uint64_t offset, std::vector<uint8_t>* first_bytes) {
  const TableCache::Slice slice = co_await cache->get(offset);
  first_bytes->push_back(slice.bytes().front());
}

Task<void> get_twice(TableCache* cache, uint64_t offset, std::vector<uint8_t>* first_bytes) {
  std::vector<Task<void>> tasks;
  tasks.push_back(get_into(cache, offset, first_bytes));
  tasks.push_back(get_into(cache, offset, first_bytes));
  co_await when_all(std::move(tasks));
}

TEST_F(TableCacheTest, TwoCallersThatMissTheSameSliceShareOneRead) {
  file_->set_delays(1, 3);
  TableCache cache = make();
  std::vector<uint8_t> first_bytes;
  sync_wait(get_twice(&cache, 0, &first_bytes));
  EXPECT_THAT(first_bytes, ElementsAre(on_disk(0), on_disk(0)));
  EXPECT_EQ(file_->count(Operation::kRead), 1u);
}

TEST_F(TableCacheTest, AFailedReadLeavesNoTraceAndTheNextOneTriesAgain) {
  file_->set_delays(1, 3);
  file_->add_rule({.operation = Operation::kRead});
  TableCache cache = make();
  std::vector<uint8_t> first_bytes;
  // One of the two fails with the read; the other waited for it and starts its own read.
  EXPECT_THROW(sync_wait(get_twice(&cache, 0, &first_bytes)), Error);
  EXPECT_THAT(first_bytes, ElementsAre(on_disk(0)));
  EXPECT_TRUE(cache.find(0));
}

TEST_F(TableCacheTest, WritesDirtySlicesBackAndAdjacentOnesInOneWrite) {
  TableCache cache = make();
  for (const uint64_t index : {5, 3, 4, 9}) change(cache, index, static_cast<uint8_t>(index));
  get(cache, 6);
  EXPECT_TRUE(cache.has_dirty());
  sync_wait(cache.write_back());
  EXPECT_THAT(changes(), ElementsAre("w3+2", "w9"));
  EXPECT_EQ(on_disk(4), 4);
  EXPECT_FALSE(cache.has_dirty());
  sync_wait(cache.write_back());
  EXPECT_THAT(changes(), ElementsAre());
}

TEST_F(TableCacheTest, WritesOnlyTheRequestedRange) {
  TableCache cache = make();
  for (const uint64_t index : {3, 4, 9}) change(cache, index, 1);
  sync_wait(cache.write_back_range(4 * kSlice, 5 * kSlice));
  EXPECT_THAT(changes(), ElementsAre("w4"));
  EXPECT_TRUE(cache.find(9 * kSlice).is_dirty());
}

TEST_F(TableCacheTest, EvictsTheLeastRecentlyUsedCleanSlice) {
  TableCache cache = make(3);
  change(cache, 1, 1);
  get(cache, 2);
  get(cache, 3);
  get(cache, 2);
  get(cache, 4);
  EXPECT_EQ(cache.slices(), 3u);
  EXPECT_TRUE(cache.find(1 * kSlice));
  EXPECT_TRUE(cache.find(2 * kSlice));
  EXPECT_FALSE(cache.find(3 * kSlice));
  EXPECT_THAT(changes(), ElementsAre());
}

TEST_F(TableCacheTest, WritesAllDirtySlicesWhenNoCleanOneCanBeEvicted) {
  TableCache cache = make(3);
  for (const uint64_t index : {1, 2, 3}) change(cache, index, 1);
  get(cache, 4);
  EXPECT_THAT(changes(), ElementsAre("w1+2"));
  EXPECT_EQ(cache.slices(), 3u);
}

TEST_F(TableCacheTest, GrowsWhileEverythingIsPinnedAndShrinksAfterwards) {
  TableCache cache = make(2);
  std::vector<TableCache::Slice> pinned;
  for (uint64_t index = 0; index < 5; ++index) pinned.push_back(get(cache, index));
  EXPECT_EQ(cache.slices(), 5u);
  for (uint64_t index = 0; index < 5; ++index) {
    EXPECT_EQ(pinned[index].bytes().front(), on_disk(index));
  }
  pinned.clear();
  get(cache, 7);
  EXPECT_EQ(cache.slices(), 2u);
}

TEST_F(TableCacheTest, ReadsWhatIsMissingOfARangeInOneRead) {
  TableCache cache = make();
  get(cache, 4);
  EXPECT_EQ(sync_wait(cache.get(1 * kSlice, 4 * kSlice)).offset(), 1 * kSlice);
  EXPECT_EQ(cache.reads(), 2u);
  EXPECT_EQ(cache.slices(), 4u);
  for (const uint64_t index : {1, 2, 3, 4}) {
    const TableCache::Slice slice = cache.find(index * kSlice);
    ASSERT_TRUE(slice);
    EXPECT_TRUE(std::ranges::equal(slice.bytes(), pattern(index * kSlice, kSlice, 1)));
  }
}

TEST_F(TableCacheTest, ARangeTakesHalfOfTheCacheAtMost) {
  TableCache cache = make(8);
  sync_wait(cache.get(0, 100 * kSlice));
  EXPECT_EQ(cache.slices(), 4u);
}

TEST_F(TableCacheTest, AReadAheadSliceMayFail) {
  file_->add_rule(
      {.operation = Operation::kRead, .count = UINT64_MAX, .offset = 2 * kSlice, .length = kSlice});
  TableCache cache = make();
  const TableCache::Slice slice = sync_wait(cache.get(kSlice, 2 * kSlice));
  EXPECT_TRUE(std::ranges::equal(slice.bytes(), pattern(kSlice, kSlice, 1)));
  EXPECT_FALSE(cache.find(2 * kSlice));
  EXPECT_THROW(get(cache, 2), Error);
}

TEST_F(TableCacheTest, AFailedWriteStaysDirtyAndIsReportedToTheCallerThatNeededIt) {
  TableCache cache = make(2);
  change(cache, 1, 1);
  change(cache, 3, 3);
  file_->add_rule({.operation = Operation::kWrite, .offset = kSlice, .length = kSlice});
  EXPECT_THROW(sync_wait(cache.write_back()), Error);
  EXPECT_TRUE(cache.find(1 * kSlice).is_dirty());
  EXPECT_FALSE(cache.find(3 * kSlice).is_dirty());
  EXPECT_EQ(on_disk(3), 3);
  sync_wait(cache.write_back());
  EXPECT_EQ(on_disk(1), 1);
  change(cache, 1, 1);
  change(cache, 3, 3);
  file_->add_rule({.operation = Operation::kWrite});
  EXPECT_THROW(get(cache, 5), Error);
  EXPECT_TRUE(cache.has_dirty());
}

Task<void> write_back_and_change(TableCache* cache, uint64_t offset, uint8_t value) {
  std::vector<Task<void>> tasks;
  tasks.push_back(cache->write_back());
  co_await Loop::current().yield();
  tasks.push_back([](TableCache* cache, uint64_t offset, uint8_t value) -> Task<void> {
    const TableCache::Slice slice = co_await cache->get(offset);
    slice.bytes().front() = value;
    slice.mark_dirty();
  }(cache, offset, value));
  co_await when_all(std::move(tasks));
}

TEST_F(TableCacheTest, ASliceChangedWhileItIsWrittenIsWrittenAgain) {
  file_->set_delays(3, 4);
  TableCache cache = make();
  change(cache, 1, 1);
  sync_wait(write_back_and_change(&cache, kSlice, 2));
  EXPECT_EQ(on_disk(1), 1);
  EXPECT_TRUE(cache.find(kSlice).is_dirty());
  sync_wait(cache.write_back());
  EXPECT_EQ(on_disk(1), 2);
}

TEST_F(TableCacheTest, WhatACacheDependsOnIsWrittenAndFlushedBeforeIt) {
  TableCache l2 = make();
  TableCache refcounts = make();
  change(refcounts, 50, 1);
  sync_wait(l2.depend_on(refcounts));
  change(l2, 10, 1);
  sync_wait(l2.write_back());
  EXPECT_THAT(changes(), ElementsAre("w50", "f", "w10"));
  change(l2, 10, 2);
  sync_wait(l2.write_back());
  EXPECT_THAT(changes(), ElementsAre("w10"));
}

TEST_F(TableCacheTest, AnEvictionKeepsTheOrderToo) {
  TableCache l2 = make(2);
  TableCache refcounts = make();
  change(refcounts, 50, 1);
  sync_wait(l2.depend_on(refcounts));
  change(l2, 10, 1);
  change(l2, 12, 1);
  get(l2, 14);
  EXPECT_THAT(changes(), ElementsAre("w50", "f", "w10", "w12"));
}

TEST_F(TableCacheTest, TheOppositeDependencyIsSatisfiedBeforeANewOneIsSet) {
  TableCache l2 = make();
  TableCache refcounts = make();
  change(l2, 10, 1);
  sync_wait(refcounts.depend_on(l2));
  change(refcounts, 50, 1);
  sync_wait(l2.depend_on(refcounts));
  EXPECT_THAT(changes(), ElementsAre("w10", "f"));
  change(l2, 10, 2);
  sync_wait(l2.write_back());
  EXPECT_THAT(changes(), ElementsAre("w50", "f", "w10"));
}

TEST_F(TableCacheTest, ADependencyOnAnotherCacheIsSatisfiedBeforeANewOneIsSet) {
  TableCache l2 = make();
  TableCache refcounts = make();
  TableCache bitmaps = make();
  change(bitmaps, 70, 1);
  change(refcounts, 50, 1);
  sync_wait(l2.depend_on(bitmaps));
  sync_wait(l2.depend_on(refcounts));
  EXPECT_THAT(changes(), ElementsAre("w70", "f"));
}

TEST_F(TableCacheTest, DataIsFlushedBeforeTheReferenceToIt) {
  auto owned = std::make_unique<FaultDevice>(std::make_unique<storage::MemoryDevice>(kSlice));
  const FaultDevice& data = *owned;
  TableCache l2 = make();
  change(l2, 10, 1);
  l2.depend_on_flush();
  sync_wait(l2.write_back());
  EXPECT_THAT(changes(), ElementsAre("f", "w10"));
  storage_->set_data_file(std::move(owned));
  change(l2, 10, 2);
  l2.depend_on_flush();
  sync_wait(l2.write_back());
  EXPECT_EQ(data.count(Operation::kFlush), 1u);
}

TEST_F(TableCacheTest, ADependencyWhoseFlushFailedRemains) {
  TableCache l2 = make();
  TableCache refcounts = make();
  change(refcounts, 50, 1);
  sync_wait(l2.depend_on(refcounts));
  change(l2, 10, 1);
  file_->add_rule({.operation = Operation::kFlush});
  EXPECT_THROW(sync_wait(l2.write_back()), Error);
  EXPECT_NE(on_disk(10), 1);
  EXPECT_TRUE(l2.has_dirty());
  file_->clear_events();
  sync_wait(l2.write_back());
  EXPECT_THAT(changes(), ElementsAre("f", "w10"));
}

TEST_F(TableCacheTest, AnInvalidatedSliceIsNeverWritten) {
  TableCache cache = make();
  change(cache, 1, 1);
  change(cache, 2, 2);
  sync_wait(cache.invalidate(kSlice, kSlice));
  EXPECT_FALSE(cache.find(kSlice));
  sync_wait(cache.write_back());
  EXPECT_THAT(changes(), ElementsAre("w2"));
  change(cache, 3, 3);
  sync_wait(cache.invalidate_all());
  EXPECT_EQ(cache.slices(), 0u);
  EXPECT_FALSE(cache.has_dirty());
}

TEST_F(TableCacheTest, AnInvalidatedSliceKeepsItsBytesWhilePinned) {
  TableCache cache = make();
  TableCache::Slice slice = get(cache, 1);
  sync_wait(cache.invalidate(kSlice, kSlice));
  EXPECT_EQ(slice.bytes().front(), on_disk(1));
  slice.bytes().front() = 0;
  slice.mark_dirty();
  EXPECT_FALSE(cache.has_dirty());
  slice.release();
  EXPECT_FALSE(slice);
}

TEST_F(TableCacheTest, ANewTableIsZeroesAndDirtyAndNotRead) {
  TableCache cache = make();
  const TableCache::Slice fresh = sync_wait(cache.get_new(kSlice));
  EXPECT_TRUE(is_all_zero(fresh.bytes()));
  EXPECT_TRUE(fresh.is_dirty());
  EXPECT_EQ(file_->count(Operation::kRead), 0u);
  change(cache, 2, 9);
  const TableCache::Slice replaced = sync_wait(cache.get_new(2 * kSlice));
  EXPECT_TRUE(is_all_zero(replaced.bytes()));
}

Task<void> get_and_get_new(TableCache* cache, uint64_t offset) {
  std::vector<uint8_t> ignored;
  std::vector<Task<void>> tasks;
  tasks.push_back(get_into(cache, offset, &ignored));
  tasks.push_back([](TableCache* cache, uint64_t offset) -> Task<void> {
    const TableCache::Slice fresh = co_await cache->get_new(offset);
    EXPECT_TRUE(is_all_zero(fresh.bytes()));
  }(cache, offset));
  co_await when_all(std::move(tasks));
}

TEST_F(TableCacheTest, ANewTableAtAnOffsetThatIsBeingReadWaitsForTheRead) {
  file_->set_delays(5, 4);
  TableCache cache = make();
  sync_wait(get_and_get_new(&cache, kSlice));
  EXPECT_TRUE(is_all_zero(cache.find(kSlice).bytes()));
}

// L2 tables of a disk that was written sequentially.
class PackedTableCacheTest : public testing::Test {
 protected:
  static constexpr uint32_t kBig = 16384;
  static constexpr uint64_t kSlices = 64;

  PackedTableCacheTest() {
    auto file = std::make_unique<storage::MemoryDevice>(contents());
    file_ = file.get();
    storage_ = std::make_unique<Storage>(std::move(file));
  }

  static uint64_t word(uint64_t index) { return layout::L2Entry::kCopied | (index + 100) << 16; }
  ConstBytes contents() {
    bytes_.resize(kSlices * kBig);
    for (uint64_t i = 0; i < bytes_.size() / 8; ++i) store_big_endian(&bytes_[i * 8], word(i));
    return bytes_;
  }
  TableCache make(uint64_t slices_max) {
    return {storage_.get(),
            {.slice_size = kBig, .slices_max = slices_max, .l2_geometry = &geometry_}};
  }

  const layout::Geometry geometry_{layout::Header{}};
  std::vector<uint8_t> bytes_;
  storage::MemoryDevice* file_;
  std::unique_ptr<Storage> storage_;
};

TEST_F(PackedTableCacheTest, SequentiallyWrittenSlicesAreAllInMemory) {
  TableCache cache = make(2);
  for (uint64_t i = 0; i < kSlices; ++i) sync_wait(cache.get(i * kBig));
  EXPECT_EQ(cache.slices(), kSlices);
  EXPECT_LE(cache.memory(), 2 * kBig);
  const TableCache::Slice slice = cache.find(5 * kBig);
  EXPECT_EQ(slice.l2_entry(77).word(), word(5 * 2048 + 77));
  EXPECT_EQ(slice.l2_stretch(77, 5000).count, 2048u - 77);
  EXPECT_TRUE(std::ranges::equal(slice.bytes(), file_->get(5 * kBig, kBig)));
}

TEST_F(PackedTableCacheTest, AChangeUnpacksAndTheLimitStillHolds) {
  TableCache cache = make(4);
  for (uint64_t i = 0; i < kSlices; ++i) sync_wait(cache.get(i * kBig));
  for (uint64_t i = 0; i < kSlices; ++i) {
    const TableCache::Slice slice = sync_wait(cache.get(i * kBig));
    layout::L2Entry(7).store(slice.bytes(), 3, geometry_);
    slice.mark_dirty();
    EXPECT_EQ(slice.l2_entry(3).word(), 7u);
    EXPECT_EQ(slice.l2_stretch(4, 5000).count, 2048u - 4);
    EXPECT_LE(cache.memory(), 6 * kBig);
  }
  sync_wait(cache.write_back());
  for (uint64_t i = 0; i < kSlices; ++i) {
    EXPECT_EQ(load_big_endian<uint64_t>(file_->get(i * kBig + 24, 8).data()), 7u);
    EXPECT_EQ(sync_wait(cache.get(i * kBig)).l2_entry(3).word(), 7u);
  }
}

TEST_F(PackedTableCacheTest, FragmentedSlicesStayUnpacked) {
  TableCache cache = make(8);
  for (uint64_t i = 0; i < kBig / 8; i += 3) store_big_endian(&bytes_[i * 8], i << 16);
  sync_wait(file_->write(0, ConstBytes(bytes_)));
  EXPECT_EQ(sync_wait(cache.get(0)).l2_entry(3).word(), 3u << 16);
  EXPECT_EQ(cache.memory(), kBig);
}

}  // namespace
}  // namespace byre::qcow2
