// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "async/task.h"
#include "qcow2/amend/amend_progress.h"
#include "qcow2/amend/refcount_block_walk.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/space/unclaimed_clusters.h"

namespace byre::qcow2 {

class Allocator;

// A second refcount structure for an image, with entries of another width, in clusters that are free
// now. It counts what the current one counts, the current one itself, and its own clusters. Nothing
// in the file refers to it, so a failure at any point leaves the image as it was.
//
// Memory: some megabytes, and 8 bytes for each new block.
//
// REQUIRES: the caller holds the allocator's lock, and the cache of refcount blocks has nothing
// dirty.
class RefcountRebuild {
 public:
  // Entries of 2^order bits.
  RefcountRebuild(Context* context, Refcounts* refcounts, Allocator* allocator, uint32_t order,
                  AmendProgress on_progress);

  // Throws Error(kUnsupported, EINVAL) if a refcount is too large for the width. Changes nothing.
  Task<void> check_fits();
  // Determines which blocks there will be, and where. Throws what check_fits() throws.
  Task<void> plan();
  // Writes them and the table; nothing is flushed.
  // REQUIRES: plan() was successful.
  Task<void> write();

  ClusterRange table_place() const { return table_place_; }
  std::vector<uint64_t> take_table() { return std::move(table_); }

 private:
  using Block = RefcountBlockWalk::Block;

  void check_fits(const Block& block) const;
  void note_used(const Block& block);
  void note_needed(layout::HostCluster cluster);
  Task<ClusterRange> allocate(uint64_t count);
  Task<void> place();
  void check_table_size() const;
  void count_own_clusters(Bytes block, uint64_t table_index);
  void report(uint64_t blocks_read, uint64_t blocks_written) const;
  layout::HostCluster start_of(const Block& block) const;
  layout::HostCluster end_of(const Block& block) const;

  Context* context_;
  Refcounts* refcounts_;
  UnclaimedClusters free_;
  const layout::Geometry new_geometry_;
  AmendProgress on_progress_;
  uint64_t old_blocks_ = 0;
  std::vector<bool> needed_;  // by index in the new table
  uint64_t needed_count_ = 0;
  ClusterRange table_place_;
  std::vector<ClusterRange> block_places_;
  std::vector<ClusterRange> own_clusters_;  // those, and the table; ascending
  size_t next_own_ = 0;                     // the first that is not below what was counted
  std::vector<uint64_t> table_;
};

}  // namespace byre::qcow2
