// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "block/gathering_writer.h"
#include "byre/error.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/allocator.h"
#include "qcow2/tables/tables.h"
#include "qcow2/update/l2_table_walk.h"
#include "qcow2/update/refcount_update.h"

namespace byre::qcow2 {

class OverlapCheck;

// A change of an image's tables that happens as a whole or not at all: everything that changes (L1
// table, L2 tables, refcounts, snapshot table) is written to clusters that are free, and one write
// of the header makes it the image's. Before that write the file is as it was, except for bytes in
// free clusters; after it nothing refers to the old tables, and once it is durable, the refcounts of
// what was freed are cleared. So a crash or a failure at any moment leaves a sound image, and at
// worst leaks.
//
//   TableUpdate update(...);
//   co_await update.begin();
//   change the references and the active L1 table, write other tables;
//   co_await update.commit(...);
//   update what the image has in memory of the tables; co_await update.finish(...);
//
// REQUIRES: from begin() on the caller holds Context::guest_lock exclusively for everything, and
// nothing waits for a flush (Flusher::settle()).
class TableUpdate {
 public:
  using L1Entries = std::vector<uint64_t>;

  TableUpdate(Context* context, Tables* tables, Refcounts* refcounts, Allocator* allocator,
              OverlapCheck* overlap);

  Task<void> begin();

  // One reference more, or less, to everything that the entries of an L1 table reach: its L2
  // tables, and the clusters that their entries refer to. Not to the clusters of the L1 table.
  // Throws Health::report_corruption() if an entry is invalid or a refcount cannot be right,
  // Error(kUnsupported, EINVAL) if a refcount is at its maximum.
  Task<void> add_references(const L1Entries& l1);
  // kRemaining: clusters without any references have lost this one already.
  enum class Dropped { kAll, kRemaining };
  Task<void> drop_references(const L1Entries& l1, Dropped dropped = Dropped::kAll);
  // One reference less to each cluster that a table of that many bytes is in.
  Task<void> drop_table(layout::HostOffset table, uint64_t size);
  // Makes a new table with these entries the active L1 table. Every copied flag in it and in its L2
  // tables becomes right: an L2 table in which one changes is copied, so that a snapshot that
  // shares it, and the file before the commit, keep theirs.
  // REQUIRES: the references have been changed.
  Task<void> set_active_l1(L1Entries l1);
  // The same, and the old L1 table loses its reference.
  Task<void> replace_active_l1(L1Entries l1);
  // Writes a table to new clusters.
  Task<layout::HostOffset> write_table(ConstBytes bytes);

  // Call last. `size`: of the guest's disk.
  struct Result {
    uint64_t size = 0;
    layout::HostOffset snapshot_table;
    uint32_t snapshots = 0;
  };
  // The size and the snapshots as they are.
  Result unchanged() const;
  Task<void> commit(Result result);
  // Instead, where references were only dropped, and the disk keeps its own: the copied flags of
  // clusters that are the disk's alone now become right.
  Task<void> commit_drops();
  // After commit(), when what the image knows in memory has been changed: clears the refcounts of
  // what was freed. `cause`: why it was.
  Task<void> finish(FreeCause cause);
  // The clusters that commit() freed.
  const std::vector<ClusterRange>& freed() const { return refcounts_.freed(); }

 private:
  enum class Direction { kAdd, kDrop, kDropRemaining };

  Task<void> change_references(const L1Entries& l1, Direction direction);
  Task<void> change(ClusterRange range, Direction direction);
  Task<void> release();
  Task<bool> correct_flags(Bytes table);
  bool correct_flags_of(const layout::L2Stretch& stretch, Bytes table, uint32_t index) const;

  Context* context_;
  Tables* tables_;
  Refcounts* image_refcounts_;
  Allocator* allocator_;
  OverlapCheck* overlap_;
  RefcountUpdate refcounts_;
  GatheringWriter writer_;
  Mutex::Guard lock_;
  layout::HostOffset l1_table_;
  L1Entries l1_;
  // Made before the header is written: afterwards there may be no memory for it.
  Error no_memory_;
};

}  // namespace byre::qcow2
