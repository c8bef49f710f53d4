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

// Why clusters were freed, which selects the "pass-discard-..." option that applies.
enum class FreeCause : uint8_t { kDiscard, kSnapshot, kOther };

// Allocates and frees host clusters. Part of an image's WriteParts.
//
// - The refcount of clusters from allocate() is counted in memory, so no other caller gets them.
//   The caller makes sure that the refcount is on disk before a reference to them is (L2 tables
//   depend on the refcount cache).
// - Clusters passed to defer_free() are still referred to on disk. They keep their refcount, and so
//   are not allocated, until the removal of the reference is durable: Flusher takes the list before
//   it writes the tables, and passes it to release() afterwards.
// - Clusters passed to free() were never referred to.
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
    // The file never had data there: it reads as zeroes until something is written.
    bool is_blank = false;
  };

  // At least 1 and at most `count` consecutive clusters: fewer only if the first free range is
  // smaller but large enough to be useful. Throws Error(kNoSpace) if there are none left.
  Task<Allocation> allocate(uint64_t count);
  // Exactly `count` consecutive clusters: for tables.
  Task<ClusterRange> allocate_all(uint64_t count);
  // The same, past all clusters in use: at the end of a growing file, where nothing was ever
  // written.
  Task<ClusterRange> allocate_at_end(uint64_t count);
  // `size` bytes, at most a cluster, for a compressed cluster: directly after the bytes of the last
  // call, if that cluster is still in use and its refcount can be raised, else at the start of
  // another cluster. Each host cluster that they touch has one reference for them, which free() or
  // defer_free() drops.
  Task<HostOffset> allocate_bytes(uint64_t size);
  // From now on a cluster gets only as many references for compressed bytes as that many states of
  // the disk can share.
  void leave_references_for(uint64_t states) { states_max_ = states; }

  // One reference more to each cluster of a range in use, which free() or defer_free() drops.
  // Throws the errors of Refcounts::add(); nothing has changed then.
  Task<void> add_references(ClusterRange range);

  void defer_free(ClusterRange range, FreeCause cause = FreeCause::kOther);
  Task<void> free(ClusterRange range);
  // Call before frees that must not fail for lack of memory: defer_free() of this many clusters,
  // one by one, will not allocate memory.
  void reserve_deferred(uint64_t count);
  // A request found the host's file system full: from now on every free cluster inside the file is
  // used before the file grows. Returns true if retrying the request may help.
  bool fill_holes();
  // Number of clusters in defer_free()'s list.
  uint64_t deferred_clusters() const { return deferred_clusters_; }
  DeferredFrees take_deferred();
  // Puts back what take_deferred() returned: the removal did not become durable. Without memory for
  // them they leak.
  void requeue(DeferredFrees frees) noexcept;
  // Drops the references. Clusters without any references left are discarded in the file, if the
  // options say so, before they can be allocated again.
  Task<void> release(DeferredFrees frees);
  bool passes_discard(FreeCause cause) const;
  // Truncates the file after the last cluster in use.
  // REQUIRES: what was freed is durably free.
  Task<void> truncate_to_used();

  // For a change of many refcounts at once, which happens without the allocator, while it holds the
  // lock.
  Task<Mutex::Guard> lock_for_update();
  // Exactly `count` consecutive free clusters at or after `position`; an empty range if there are
  // none. They are not claimed: see UnclaimedClusters.
  // REQUIRES: the caller holds the lock.
  Task<ClusterRange> find_free_from(HostCluster position, uint64_t count);
  // For a caller who found none.
  Error no_space() const;
  // The refcounts have changed: forgets where free clusters are. The freed clusters are discarded
  // in the file if the options say so.
  // REQUIRES: the caller holds the lock; the new refcounts are durable.
  Task<void> finish_update(std::vector<ClusterRange> freed, FreeCause cause);

  // Asserts that what is kept about free clusters is consistent. For tests.
  void check() const;

 private:
  Task<ClusterRange> find(uint64_t count, uint64_t count_min);
  Task<ClusterRange> find_scanning(HostCluster* position, uint64_t count, uint64_t count_min,
                                   HostCluster limit);
  Task<ClusterRange> find_at_end(uint64_t count, uint64_t count_min);
  Task<ClusterRange> find_any_hole(uint64_t count, uint64_t count_min);
  Task<ClusterRange> find_for_block(ClusterRange range);
  Task<ClusterRange> claim(ClusterRange range);
  Task<ClusterRange> next_to_pack(HostCluster after);
  Task<bool> share(HostCluster cluster);
  Task<bool> share_with(HostCluster cluster, ClusterRange next);
  Task<void> grow_refcount_table(HostCluster start, uint64_t table_index_min);
  Task<void> ensure_blocks(ClusterRange range);
  Task<void> ensure_block(uint64_t table_index, ClusterRange range);
  Task<void> drop_references(ClusterRange range);
  Task<void> drop_all_references(DeferredFrees frees);
  Task<void> discard_in_file(std::vector<ClusterRange> ranges);
  void became_free(HostCluster cluster);
  bool is_blank(ClusterRange range);
  // Clusters there are written without having been claimed.
  void note_written(ClusterRange range);
  // Entries can refer to the clusters below, and the file contains them, or can grow to.
  HostCluster space_end() const;

  Context* context_;
  TableCache* refcount_cache_;
  Refcounts* refcounts_;
  OverlapCheck* overlap_;
  Mutex mutex_;
  // All clusters below are in use, as far as searches for one cluster (first_free_) and for several
  // (cursor_, which skips holes that are too small) have looked. Each search looks at a bounded
  // number of refcounts, so that opening a large, full image does not cost a scan of all of them.
  HostCluster first_free_{0};
  HostCluster cursor_{0};
  // All clusters from here on were free when this was determined, and are allocated one after
  // another: for searches that found no hole within their bound.
  std::optional<HostCluster> end_;
  // All clusters from here on are past the original end of the file, and past all clusters that
  // were allocated or freed since.
  std::optional<HostCluster> blank_;
  // The end of the compressed bytes allocated last; 0: there are none, or they end with their
  // cluster, or their cluster was freed.
  HostOffset packed_end_;
  uint64_t states_max_ = 1;
  bool fills_holes_ = false;
  DeferredFrees deferred_;
  uint64_t deferred_clusters_ = 0;
};

}  // namespace byre::qcow2
