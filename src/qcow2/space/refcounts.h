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

// The refcounts of all host clusters: the refcount table in memory, the blocks through their cache.
// It does not decide which clusters are allocated (Allocator does), and has no lock of its own: the
// allocator's lock serializes all changes.
//
// When a call returns, its changes are in memory; the cache writes them back. Only new entries of
// the refcount table are written at once, see add_block() and RefcountTableGrowth.
class Refcounts {
 public:
  // `cache`: the cache of refcount blocks.
  Refcounts(Context* context, TableCache* cache, OverlapCheck* overlap)
      : context_(context), refcount_cache_(cache), overlap_(overlap) {}

  // Reads the refcount table. Call before anything else.
  Task<void> load();

  // The refcount table.
  uint64_t table_entries() const { return table_.size(); }
  uint64_t table_index(HostCluster cluster) const;
  // False if there is no block: all its refcounts are 0. Throws Health::report_corruption() if the
  // entry is not a valid offset of a block, and Error(kIo) if the entry was past the end of the
  // file when the table was read: its contents may yet arrive, and treating it as zeroes would
  // allocate clusters that are in use.
  bool has_block(uint64_t table_index) const;
  HostOffset block_offset(uint64_t table_index) const;
  const std::vector<uint64_t>& table() const { return table_; }

  Task<uint64_t> get(HostCluster cluster);
  // The first free clusters at or after `from`: a consecutive run, at least 1 and at most `max`.
  // Clusters past the range that the table covers are free. Searches up to `limit` and the rest of
  // the block there: if nothing before that is free, the range is empty, and its `first` is where
  // the search ended.
  Task<ClusterRange> find_free(HostCluster from, uint64_t max,
                               HostCluster limit = HostCluster(UINT64_MAX));
  // The cluster after the last one in use. Looks at the table, and at blocks from the last one
  // backwards until it finds a reference.
  Task<HostCluster> end_of_used();

  // Adds one reference to each cluster. Throws Error(kUnsupported, EINVAL) if a refcount is at its
  // maximum, Error(kNoSpace) if a block is in a hole of a file on a full disk; nothing has changed
  // then.
  // REQUIRES: all of them have refcount blocks.
  Task<void> add(ClusterRange range);
  // Removes one reference from each cluster; calls `freed` for each that has none left. Throws
  // Health::report_corruption() if one had none already, after all others were decremented.
  Task<void> subtract(ClusterRange range, std::function<void(HostCluster)> freed);

  // What add() throws if the refcount of that cluster is at its maximum.
  Error overflow(HostCluster cluster) const;

  // Adds an empty block, at a free cluster that it may or may not count itself, to the table, on
  // disk and in memory. The block is durable before its entry is written; the entry itself is
  // durable after the next flush. The block's own reference is counted. If the write of the entry
  // fails, the entry may still be on disk: finish_block() must then precede the next allocation.
  // Any other failure leaves no trace.
  Task<void> add_block(uint64_t table_index, HostCluster place);
  // Retries adding that block to the table, if there is one.
  Task<void> finish_block();
  // The table has moved, and the header says so already; `table` has the new entries.
  void replace_table(std::vector<uint64_t> table) { table_ = std::move(table); }

  // For building a block that is not in the table yet.
  Task<void> clear_new_block(HostOffset block);
  Task<void> set_in_new_block(HostOffset block, HostCluster cluster);

 private:
  struct NewBlock {
    uint64_t table_index;
    HostCluster place;
    bool is_counted;  // by another block
  };

  Task<void> put_into_table(NewBlock block);
  Task<void> drop_new_block(NewBlock block);
  // Flushes first, so that the block that the entry names is on disk before the entry.
  // REQUIRES: the block has been written.
  Task<void> write_table_entry(NewBlock block);
  layout::RefcountTableEntry entry_of(const NewBlock& block) const;
  uint64_t entries_per_slice() const;
  // The slice that holds the refcount of `cluster`.
  Task<TableCache::Slice> slice_of(HostCluster cluster);
  uint64_t index_in_slice(HostCluster cluster) const;
  uint64_t count_in_slice(HostCluster cluster, uint64_t max) const;
  ClusterRange find_free_in(ConstBytes slice, HostCluster from, uint64_t max) const;
  Context* context_;
  TableCache* refcount_cache_;
  OverlapCheck* overlap_;
  std::vector<uint64_t> table_;
  std::vector<uint64_t> missing_blocks_;  // their indexes, ascending
  std::optional<NewBlock> unfinished_;    // its entry could not be written
};

// Reports that an entry of the refcount table is not the offset of a block.
Error report_invalid_block(Context* context, uint64_t table_index,
                           layout::RefcountTableEntry entry);

}  // namespace byre::qcow2
