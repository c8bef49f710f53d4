// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

// Replaces the refcount table by a larger one. New blocks and the new table are written to
// clusters that nothing refers to, and made durable; then the header is changed to name the new
// table, in one write, and made durable. Wherever this stops, the image has either the old table or
// the new one, complete. Used by the allocator, which holds its lock.
class RefcountTableGrowth {
 public:
  RefcountTableGrowth(Context* context, TableCache* refcount_cache, Refcounts* refcounts,
                      OverlapCheck* overlap)
      : context_(context),
        refcount_cache_(refcount_cache),
        refcounts_(refcounts),
        overlap_(overlap) {}

  // The new table has room for the entry `table_index_min` and is placed at `start`, which must
  // not be below the range that the old table covers, so that everything from there on is free.
  // Returns the clusters of the table and of the new blocks, which follow it. Throws
  // Error(kNoSpace, EFBIG) if the new table would exceed the limit of refcount tables.
  ClusterRange plan(HostCluster start, uint64_t table_index_min);
  // Carries out the plan. Returns the clusters of the old table, which have a reference that nothing
  // needs any more.
  Task<ClusterRange> run();

 private:
  Task<void> make_blocks();
  Task<void> write_table();
  Task<void> switch_to_table();

  Context* context_;
  TableCache* refcount_cache_;
  Refcounts* refcounts_;
  OverlapCheck* overlap_;
  ClusterRange place_;  // of the table, and of the new blocks after it
  uint64_t table_clusters_ = 0;
  uint64_t first_new_index_ = 0;  // of the new blocks in the table
  std::vector<uint64_t> table_;
};

}  // namespace byre::qcow2
