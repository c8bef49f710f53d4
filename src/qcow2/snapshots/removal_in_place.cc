// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/removal_in_place.h"

#include <optional>
#include <utility>

#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/read/reader.h"
#include "qcow2/space/allocator.h"
#include "qcow2/update/l2_table_walk.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::HostOffset;
using layout::L1Entry;
using layout::L2Entry;

Task<void> RemovalInPlace::remove_last_entry(uint64_t table_size, uint32_t snapshots) {
  const layout::Header& header = context_->header();
  const HostOffset table = header.snapshots_offset;
  HeaderStore::TableSet set;
  set.size = header.size;
  set.l1_table = header.l1_table_offset;
  set.l1_entries = header.l1_size;
  set.refcount_table = header.refcount_table_offset;
  set.refcount_table_clusters = header.refcount_table_clusters;
  set.snapshots = snapshots - 1;
  set.snapshot_table = set.snapshots == 0 ? HostOffset() : table;
  co_await context_->header_store.set_tables(set);
  if (set.snapshots > 0) co_return;
  const layout::Geometry& geometry = context_->geometry;
  allocator_->defer_free({geometry.cluster_of(table), geometry.clusters_for(table_size)});
}

Task<void> RemovalInPlace::free_clusters(layout::Snapshot snapshot, std::vector<uint64_t> l1) {
  const layout::Geometry& geometry = context_->geometry;
  L2TableWalk walk(context_, &l1);
  for (;;) {
    const std::optional<L2TableWalk::Table> table = co_await walk.next();
    if (!table) break;
    for (const ClusterRange& range : clusters_of(*context_, *table)) {
      allocator_->defer_free(range, FreeCause::kSnapshot);
      reader_->drop_compressed(geometry.offset_of(range.first),
                               range.count << geometry.cluster_bits());
    }
    allocator_->defer_free({geometry.cluster_of(table->offset), 1}, FreeCause::kSnapshot);
  }
  const ClusterRange own{geometry.cluster_of(snapshot.l1_table_offset),
                         geometry.clusters_for_entries(snapshot.l1_size)};
  allocator_->defer_free(own, FreeCause::kSnapshot);
  co_await flusher_->settle();
  co_await correct_flags();
  co_await flusher_->settle();
}

// Clusters and tables that only the active disk has now may be written to in place again.
Task<void> RemovalInPlace::correct_flags() {
  const layout::Geometry& geometry = context_->geometry;
  L1Table& l1 = tables_->l1;
  for (uint64_t i = l1.next_used(0, l1.size()); i < l1.size(); i = l1.next_used(i + 1, l1.size())) {
    const L1Entry entry(l1.entry(i));
    if (entry.kind(geometry) != layout::L1Kind::kTable) continue;
    const uint64_t refcount = co_await refcounts_->get(geometry.cluster_of(entry.offset()));
    if (refcount != 1) continue;
    if (!entry.copied()) l1.set(i, entry.with_copied(true).word());
    co_await correct_flags_in(entry.offset());
  }
}

Task<void> RemovalInPlace::correct_flags_in(HostOffset l2_table) {
  const layout::Geometry& geometry = context_->geometry;
  TableCache& cache = tables_->l2_cache;
  const uint32_t entries = cache.slice_size() / geometry.l2_entry_size();
  for (uint64_t at = 0; at < geometry.cluster_size(); at += cache.slice_size()) {
    const TableCache::Slice slice = co_await cache.get(l2_table.value() + at);
    for (uint32_t index = 0; index < entries; ++index) {
      const L2Entry entry = slice.l2_entry(index);
      const bool is_candidate = !entry.is_compressed() && !entry.copied() &&
                                entry.has_offset(geometry) &&
                                entry.problem(geometry) == layout::L2Problem::kNone;
      if (!is_candidate) continue;
      const uint64_t refcount = co_await refcounts_->get(geometry.cluster_of(entry.offset()));
      if (refcount != 1) continue;
      entry.with_copied(true).store(slice.bytes(), index, geometry);
      slice.mark_dirty();
    }
  }
}

}  // namespace byre::qcow2
