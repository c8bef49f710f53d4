// SPDX-License-Identifier: Apache-2.0
#include "qcow2/tables/table_cache.h"

#include "async/when_all.h"
#include "byre/error.h"
#include "unit/qcow2/tables/table_cache_fixture.h"

namespace byre::qcow2::test {
namespace {

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

}  // namespace
}  // namespace byre::qcow2::test
