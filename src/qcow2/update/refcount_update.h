// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "async/task.h"
#include "block/buffer.h"
#include "block/gathering_writer.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/space/unclaimed_clusters.h"

namespace byre::qcow2 {

// The refcounts that an image will have after a change of many of them. The blocks that change are
// read once, changed in memory, and written by write() to clusters that are free now, with a new
// refcount table. Nothing in the file refers to them until the header names the new table, so a
// failure at any point before that leaves the image as it was. Part of a TableUpdate.
//
// A cluster that loses its last reference keeps a refcount of 1 until release(), after the header is
// durable: a process that is killed before must not leave it to the next one, which sees the new
// header and may write to free clusters, while a power cut may still bring the old header back.
//
// Memory: the blocks that change, 1/32768 of what their clusters hold for 16-bit refcounts and
// clusters of 64 KiB.
//
// REQUIRES: the caller holds the allocator's lock, and the cache of refcount blocks has nothing
// dirty.
class RefcountUpdate {
 public:
  RefcountUpdate(Context* context, Refcounts* refcounts, Allocator* allocator)
      : context_(context), refcounts_(refcounts), free_(allocator) {}

  // Reads the blocks of the range, unless they are in memory. Call before get(), add() and
  // subtract(), unless is_loaded().
  Task<void> load(ClusterRange range);
  bool is_loaded(ClusterRange range) const;
  uint64_t get(HostCluster cluster) const;
  // How many clusters of the range have one reference, if the first one has, or any other number, if
  // it does not. At least 1.
  uint64_t count_alike(ClusterRange range) const;
  // One more reference for each cluster. Throws Error(kUnsupported, EINVAL) if a refcount is at its
  // maximum, Health::report_corruption() if it is 0 though the cluster is in use.
  void add(ClusterRange range);
  // One reference less; the last one goes with release(). Throws Health::report_corruption() if
  // there is none.
  void subtract(ClusterRange range);

  // Exactly `count` consecutive clusters that are free in the file, each with a refcount of 1.
  Task<ClusterRange> allocate(uint64_t count);

  // Writes the blocks that changed and the table. Afterwards nothing can be changed.
  Task<void> write(GatheringWriter* writer);
  // Writes the refcounts of freed() where the blocks are now.
  // REQUIRES: Refcounts has the new table, and the header that names it is durable.
  Task<void> release(GatheringWriter* writer);
  // The location of the table that write() wrote, and its entries.
  ClusterRange table_place() const { return table_place_; }
  std::vector<uint64_t> take_table() { return std::move(table_); }

  // The clusters that have no reference any more.
  const std::vector<ClusterRange>& freed() const { return freed_; }
  // Whether any change so far left a cluster with one reference that had more.
  bool has_new_sole_references() const { return has_new_sole_references_; }

 private:
  struct Block {
    Buffer bytes;
    bool is_changed = false;
    HostCluster place;        // where write() puts it; 0: not determined
    std::vector<bool> freed;  // by index; empty: none are
  };

  Block* block_of(HostCluster cluster) const;
  // The start of the range, as far as it is in one block.
  ClusterRange part_in_block(ClusterRange range) const;
  void subtract_last(HostCluster cluster);
  Task<void> load_block(uint64_t table_index);
  Task<void> set_used(ClusterRange range);
  void set(HostCluster cluster, uint64_t refcount);
  Task<bool> place_blocks();
  Task<void> place_table();
  Error unreferenced(HostCluster cluster) const;

  Context* context_;
  Refcounts* refcounts_;
  UnclaimedClusters free_;
  std::vector<std::unique_ptr<Block>> blocks_;  // by index in the refcount table
  std::vector<ClusterRange> freed_;
  bool has_new_sole_references_ = false;
  ClusterRange table_place_;
  std::vector<uint64_t> table_;
};

}  // namespace byre::qcow2
