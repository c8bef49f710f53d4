// SPDX-License-Identifier: Apache-2.0
#include "unit/qcow2/tables/table_cache_fixture.h"

namespace byre::qcow2::test {
namespace {

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

}  // namespace
}  // namespace byre::qcow2::test
