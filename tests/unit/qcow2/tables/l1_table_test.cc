// SPDX-License-Identifier: Apache-2.0
#include "qcow2/tables/l1_table.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "base/bytes.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"

namespace byre::qcow2 {
namespace {

void put_entry(storage::MemoryDevice& file, uint64_t offset, uint64_t entry) {
  uint8_t bytes[8];
  store_big_endian(bytes, entry);
  file.put(offset, bytes);
}

uint64_t entry_at(const storage::MemoryDevice& file, uint64_t offset) {
  return load_big_endian<uint64_t>(file.get(offset, 8).data());
}

TEST(L1Table, ReadsItsEntries) {
  storage::MemoryDevice file(1 << 16);
  put_entry(file, 4096, 17);
  put_entry(file, 4096 + 8 * 99, 99);
  const L1Table table = sync_wait(L1Table::load(&file, 4096, 100));
  EXPECT_EQ(table.size(), 100u);
  EXPECT_EQ(table.offset(), 4096u);
  EXPECT_EQ(table.entry(0), 17u);
  EXPECT_EQ(table.entry(99), 99u);
  EXPECT_EQ(table.entry(100), 0u);
}

TEST(L1Table, EntriesPastTheEndOfTheFileAreZeroAndNotRead) {
  faults::FaultDevice file(std::make_unique<storage::MemoryDevice>(4096 + 12));
  const L1Table table = sync_wait(L1Table::load(&file, 4096, 4 << 20));
  EXPECT_EQ(table.size(), 4u << 20);
  EXPECT_EQ(table.entry((4 << 20) - 1), 0u);
  EXPECT_EQ(table.next_used(0, 4 << 20), 4u << 20);
  EXPECT_EQ(file.count(faults::Operation::kRead), 1u);
  const L1Table beyond = sync_wait(L1Table::load(&file, uint64_t{1} << 60, 5));
  EXPECT_EQ(beyond.entry(4), 0u);
}

TEST(L1Table, AnEntryCutByTheEndOfTheFileIsFilledWithZeroes) {
  storage::MemoryDevice file(0);
  put_entry(file, 0, 0x1122334455667788);
  sync_wait(file.resize(3, Preallocation::kOff));
  const L1Table table = sync_wait(L1Table::load(&file, 0, 1));
  EXPECT_EQ(table.entry(0), 0x1122330000000000u);
}

TEST(L1Table, ReadsALargeTableInPieces) {
  const uint32_t size = 300000;
  storage::MemoryDevice file(size * 8);
  put_entry(file, 8 * (size - 1), 5);
  put_entry(file, 1 << 20, 6);
  const L1Table table = sync_wait(L1Table::load(&file, 0, size));
  EXPECT_EQ(table.entry((1 << 20) / 8), 6u);
  EXPECT_EQ(table.next_used(0, size), (1u << 20) / 8);
  EXPECT_EQ(table.next_used((1 << 20) / 8 + 1, size), size - 1);
}

TEST(L1Table, WritesBackWhatChangedAndNothingElse) {
  storage::MemoryDevice file(1 << 16);
  put_entry(file, 8 * 1500, 3);
  L1Table table = sync_wait(L1Table::load(&file, 0, 2000));
  EXPECT_FALSE(table.is_dirty());
  table.set(7, 70);
  table.set(1999, 71);
  put_entry(file, 8 * 600, 4);  // changed without its knowledge, in a clean part
  EXPECT_TRUE(table.is_dirty());
  sync_wait(table.write_back(&file));
  EXPECT_FALSE(table.is_dirty());
  EXPECT_EQ(entry_at(file, 8 * 7), 70u);
  EXPECT_EQ(entry_at(file, 8 * 600), 4u);
  EXPECT_EQ(entry_at(file, 8 * 1500), 3u);
  EXPECT_EQ(entry_at(file, 8 * 1999), 71u);
}

TEST(L1Table, AFailedWriteStaysDirty) {
  faults::FaultDevice file(std::make_unique<storage::MemoryDevice>(1 << 16));
  L1Table table = sync_wait(L1Table::load(&file, 0, 10));
  table.set(1, 2);
  file.add_rule({.operation = faults::Operation::kWrite});
  EXPECT_THROW(sync_wait(table.write_back(&file)), Error);
  EXPECT_TRUE(table.is_dirty());
  sync_wait(table.write_back(&file));
  EXPECT_FALSE(table.is_dirty());
}

TEST(L1Table, AfterAMoveItGrowsAndWritesToItsNewOffset) {
  storage::MemoryDevice file(1 << 16);
  put_entry(file, 0, 9);
  L1Table table = sync_wait(L1Table::load(&file, 0, 1));
  table.moved(8192, 3);
  EXPECT_FALSE(table.is_dirty());
  table.set(2, 5);
  sync_wait(table.write_back(&file));
  EXPECT_EQ(entry_at(file, 8192), 9u);
  EXPECT_EQ(entry_at(file, 8192 + 16), 5u);
}

TEST(L1Table, AFailedReadIsReported) {
  faults::FaultDevice file(std::make_unique<storage::MemoryDevice>(1 << 16));
  file.add_rule({.operation = faults::Operation::kRead});
  EXPECT_THROW(sync_wait(L1Table::load(&file, 0, 10)), Error);
}

}  // namespace
}  // namespace byre::qcow2
