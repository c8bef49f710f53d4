// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/image.h"
#include "qcow2/refcounts.h"

namespace byre::qcow2 {

class Allocator;

// Replaces the refcount table by a larger one. New blocks and the new table are written where
// nothing refers to them and are made durable; then the header is changed to name the table, in one
// write, and is made durable; then the old table is free. Wherever this stops, the image has either
// the old table or the new one, whole. For the allocator, under its lock.
class RefcountTableGrowth {
 public:
  RefcountTableGrowth(Image::State* state, Allocator* allocator, Refcounts* refcounts)
      : state_(state), allocator_(allocator), refcounts_(refcounts) {}

  // The new table has room for the entry `table_index_min`, and stands at `behind`, which is not
  // below the reach of the old one, so that all is free from there on. Throws Error(kNoSpace,
  // EFBIG) where it would exceed the limit of refcount tables.
  Task<void> run(HostCluster behind, uint64_t table_index_min);

 private:
  void plan(HostCluster behind, uint64_t table_index_min);
  Task<void> make_blocks();
  Task<void> write_table();
  Task<void> switch_to_table();

  Image::State* state_;
  Allocator* allocator_;
  Refcounts* refcounts_;
  ClusterRange place_;  // of the table, and of the new blocks behind it
  uint64_t table_clusters_ = 0;
  uint64_t first_new_index_ = 0;  // of the new blocks in the table
  std::vector<uint64_t> table_;
};

}  // namespace byre::qcow2
