// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/amend/amend_progress.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/update/l2_table_walk.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class OverlapCheck;
struct Tables;

// Removes all zero clusters from an image without extended L2 entries and external data file, from
// the disk and from its snapshots, for version 2, which does not have them. Everything reads as
// before:
//
//   a zero cluster with a cluster of its own   data, zeroes, there
//   another, without a backing file            unallocated
//   another, with a backing file               data, zeroes, in a new cluster
//
// A host cluster that other tables refer to as well may have data there, and is left alone. L2
// tables change where they are: first the new clusters and their refcounts are durable, then the
// tables, then the references that they had are dropped, by a TableUpdate, since clusters may become
// the disk's alone. Wherever this stops, the image is sound, and at worst has leaks; another run
// does what is left. Part of a VersionChange.
//
// REQUIRES: the caller holds Context::guest_lock exclusively for everything, and nothing waits for a
// flush (Flusher::settle()).
class ZeroExpansion {
 public:
  ZeroExpansion(Context* context, Tables* tables, const std::vector<layout::Snapshot>* snapshots,
                Refcounts* refcounts, Allocator* allocator, Flusher* flusher, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        snapshots_(snapshots),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher),
        overlap_(overlap) {}

  // Durable when it is done.
  Task<void> run(AmendProgress on_progress);

 private:
  struct Change {
    layout::HostOffset table;
    Buffer bytes;
  };
  // Clusters that got, or lose, so many references each.
  struct Referenced {
    ClusterRange range;
    uint64_t references = 0;
  };

  Task<void> expand_everything(AmendProgress on_progress);
  Task<void> expand_l1(std::vector<uint64_t> l1, AmendProgress on_table);
  Task<void> expand_table(L2TableWalk::Table table);
  Task<void> expand_entry(Bytes table, uint32_t index, uint64_t references,
                          std::vector<uint32_t>* to_allocate);
  Task<void> allocate_for(Bytes table, const std::vector<uint32_t>* entries, uint64_t references);
  Task<void> add_references(ClusterRange range, uint64_t count);
  Task<void> write_changes();
  Task<void> write_tables();
  Task<void> drop_taken();
  void note_dropped(Referenced dropped);
  Task<void> drop_references();

  Context* context_;
  Tables* tables_;
  const std::vector<layout::Snapshot>* snapshots_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
  OverlapCheck* overlap_;
  std::unordered_set<uint64_t> seen_;  // offsets of L2 tables; only if there are snapshots
  // Not in the file yet.
  std::vector<Change> changes_;
  std::vector<Referenced> taken_;
  // Not by the tables in the file any more, but still counted.
  std::vector<Referenced> dropped_;
};

}  // namespace byre::qcow2
