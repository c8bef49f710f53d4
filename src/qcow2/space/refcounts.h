// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::HostOffset;

// Consecutive host clusters.
struct ClusterRange {
  HostCluster first;
  uint64_t count = 0;
  HostCluster end() const { return first + count; }
};

// The numbers of references that each host cluster has: the refcount table in memory, the blocks
// through the cache of them. It does not decide what is allocated where (Allocator does) and
// has no lock of its own: the allocator's lock orders all changes.
//
// Changes are in memory when a call is done; the cache writes them back. Only what is new in the
// refcount table goes to disk at once, see add_block() and RefcountTableGrowth.
class Refcounts {
 public:
  // `cache`: of refcount blocks.
  Refcounts(Context* context, TableCache* cache, OverlapCheck* overlap)
      : context_(context), refcount_cache_(cache), overlap_(overlap) {}

  // Reads the refcount table; before everything else.
  Task<void> load();

  // The refcount table.
  uint64_t table_entries() const { return table_.size(); }
  uint64_t table_index(HostCluster cluster) const;
  // No block: all its refcounts are 0. Throws Health::report_corruption() where the entry is no place of
  // one, and Error(kIo) where it was past the end of the file when the table was read: what it says
  // may yet arrive, and zeroes would give away what others refer to.
  bool has_block(uint64_t table_index) const;
  HostOffset block_offset(uint64_t table_index) const;
  const std::vector<uint64_t>& table() const { return table_; }

  Task<uint64_t> get(HostCluster cluster);
  // The first free clusters at or behind `from`: all that follow one another, at most `max`, at
  // least 1. What lies behind the reach of the table is free. Looks no further than at `limit` and
  // the rest of a block there: where nothing is free before, the range is empty, and its place is
  // how far it looked.
  Task<ClusterRange> find_free(HostCluster from, uint64_t max,
                               HostCluster limit = HostCluster(UINT64_MAX));
  // The place behind the last cluster in use. Looks at the table, and at blocks from the last one
  // on until it finds a reference.
  Task<HostCluster> end_of_used();

  // One more reference to each. There are blocks for all of them. Throws Error(kUnsupported,
  // EINVAL) where a refcount is at its maximum, Error(kNoSpace) where a block lies in a hole of a
  // full file; then nothing has changed.
  Task<void> add(ClusterRange range);
  // One reference less to each; `freed` is told of each that has none left. Throws
  // Health::report_corruption() where one has none already, after all others were counted down.
  Task<void> subtract(ClusterRange range, std::function<void(HostCluster)> freed);

  // Puts an empty block, at a free cluster that it may or may not count itself, into the table, on
  // disk and in memory. Durable in the order block, entry; the entry itself is durable after the
  // next flush. The block's own reference is counted. Where the write of the entry fails, the entry
  // may yet be on disk: finish_block() comes before whatever is allocated next. Any other failure
  // leaves no trace.
  Task<void> add_block(uint64_t table_index, HostCluster place);
  // Tries again to put that block into the table, if there is one.
  Task<void> finish_block();
  // The table has grown and moved, as the header says now; new entries are in `table`.
  void replace_table(std::vector<uint64_t> table) { table_ = std::move(table); }

  // A slice of a block that is not in the table yet: for who builds one.
  Task<void> clear_new_block(HostOffset block);
  Task<void> set_in_new_block(HostOffset block, HostCluster cluster);

 private:
  struct NewBlock {
    uint64_t table_index;
    HostCluster place;
    bool is_counted;  // by another block
  };

  Task<void> put_into_table(NewBlock block);
  // The block that it names is on disk before it is.
  Task<void> write_table_entry(NewBlock block);
  layout::RefcountTableEntry entry_of(const NewBlock& block) const;
  uint64_t entries_per_slice() const;
  // The slice that has the refcount of `cluster`, and the entry's index in it.
  Task<TableCache::Slice> slice_of(HostCluster cluster);
  uint64_t index_in_slice(HostCluster cluster) const;
  uint64_t count_in_slice(HostCluster cluster, uint64_t max) const;
  ClusterRange find_free_in(ConstBytes slice, HostCluster from, uint64_t max) const;
  Error overflow(HostCluster cluster) const;

  Context* context_;
  TableCache* refcount_cache_;
  OverlapCheck* overlap_;
  std::vector<uint64_t> table_;
  std::vector<uint64_t> missing_blocks_;  // their indexes, ascending
  std::optional<NewBlock> unfinished_;    // its entry could not be written
};

}  // namespace byre::qcow2
