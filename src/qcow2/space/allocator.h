// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

// Why clusters are free: which of the options "pass-discard-..." is about them.
enum class FreeCause : uint8_t { kDiscard, kSnapshot, kOther };

// Gives host clusters and takes them back. Part of an image's WriteParts.
//
// - What allocate() gives has its refcount counted in memory, so that nobody else gets it; whoever
//   refers to it on disk sees to it that the refcount is there before (L2 tables depend on the
//   refcount cache).
// - What defer_free() takes is still referred to by what is on disk. It keeps its refcount, and so
//   is given to nobody, until the removal of the reference is durable: Flusher takes the list
//   before it writes the tables and hands it to release() afterwards.
// - What free() takes was never referred to.
class Allocator {
 public:
  struct Freed {
    ClusterRange range;
    FreeCause cause = FreeCause::kOther;
  };
  using DeferredFrees = std::vector<Freed>;

  Allocator(Context* context, TableCache* refcount_cache, Refcounts* refcounts,
            OverlapCheck* overlap)
      : context_(context),
        refcount_cache_(refcount_cache),
        refcounts_(refcounts),
        overlap_(overlap) {}

  struct Allocation {
    ClusterRange range;
    // The file never had bytes there: it reads as zeroes until something is written.
    bool is_blank = false;
  };

  // At least 1 and at most `count` consecutive clusters: fewer only where the free place that comes
  // first is of a useful size but smaller. Throws Error(kNoSpace) where there can be no more.
  Task<Allocation> allocate(uint64_t count);
  // Exactly `count` consecutive clusters: for tables.
  Task<ClusterRange> allocate_all(uint64_t count);
  // The same, behind all clusters that are in use: of a file that grows, where nothing was written.
  Task<ClusterRange> allocate_at_end(uint64_t count);
  // `size` bytes, at most a cluster, for a compressed cluster: right behind those given last, where
  // that cluster is still in use and may be referred to once more, else at the start of another
  // one. Each host cluster that they touch has one reference for them; free() or defer_free()
  // take it back.
  Task<HostOffset> allocate_bytes(uint64_t size);

  void defer_free(ClusterRange range, FreeCause cause = FreeCause::kOther);
  Task<void> free(ClusterRange range);
  // Before take-backs that must not fail for lack of memory: defer_free() of so many clusters, one
  // by one, will allocate none.
  void reserve_deferred(uint64_t count);
  // A request found no room in the file's file system: from now on every free cluster that the file
  // has is used before it grows. True where that may help a request that is made again.
  bool fill_holes();
  // Clusters in defer_free()'s list.
  uint64_t deferred_clusters() const { return deferred_clusters_; }
  DeferredFrees take_deferred();
  // Puts back what take_deferred() gave: the removal did not become durable. Without memory for
  // them they leak.
  void requeue(DeferredFrees frees) noexcept;
  // Clusters that nobody refers to any more are discarded in the file before anybody can be given
  // them, where the options say so.
  Task<void> release(DeferredFrees frees);
  bool passes_discard(FreeCause cause) const;
  // Cuts off what the file has behind the last cluster in use. What was freed is durably so.
  Task<void> truncate_to_used();

  // Asserts that what is kept about free clusters is consistent. For tests.
  void check() const;

 private:
  friend class RefcountTableGrowth;

  Task<ClusterRange> find(uint64_t count, uint64_t count_min);
  Task<ClusterRange> find_scanning(HostCluster* position, uint64_t count, uint64_t count_min,
                                   HostCluster limit);
  Task<ClusterRange> find_at_end(uint64_t count, uint64_t count_min);
  Task<ClusterRange> claim(ClusterRange range);
  Task<ClusterRange> next_to_pack(HostCluster behind);
  Task<bool> share(HostCluster cluster);
  Task<void> ensure_blocks(ClusterRange range);
  Task<void> ensure_block(uint64_t table_index, HostCluster behind);
  Task<void> drop_references(ClusterRange range);
  Task<void> drop_all_references(DeferredFrees frees);
  Task<void> discard_in_file(std::vector<ClusterRange> ranges);
  void became_free(HostCluster cluster);
  bool is_blank(ClusterRange range);
  // Something is written there without a claim.
  void note_written(ClusterRange range);
  bool fits(ClusterRange range) const;
  // Throws Error(kNoSpace) unless it fits.
  void check_end(ClusterRange range) const;

  Context* context_;
  TableCache* refcount_cache_;
  Refcounts* refcounts_;
  OverlapCheck* overlap_;
  Mutex mutex_;
  // All clusters below are in use, as far as searches for one cluster and for several have looked
  // (the latter pass over holes that are too small). They look at a bounded number of refcounts
  // each, so that opening a large image that is full does not cost a look at all of them.
  HostCluster first_free_{0};
  HostCluster cursor_{0};
  // All clusters from here on were free when it was found out, and are given one after another: for
  // searches that did not find a hole within their bound.
  std::optional<HostCluster> end_;
  // All clusters from here on lie behind the end that the file had at first, and behind all that
  // were given or freed since.
  std::optional<HostCluster> blank_;
  // Behind the compressed bytes given last; 0: none, or they end with their cluster, or that became
  // free.
  HostOffset packed_end_;
  bool fills_holes_ = false;
  DeferredFrees deferred_;
  uint64_t deferred_clusters_ = 0;
};

}  // namespace byre::qcow2
