// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/removal_in_place.h"

#include <optional>
#include <utility>

#include "qcow2/read/reader.h"
#include "qcow2/space/allocator.h"
#include "qcow2/update/l2_table_walk.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::HostOffset;

Task<void> RemovalInPlace::remove_last_entry(uint64_t table_size, uint32_t snapshots) {
  HeaderStore::TableSet set = context_->header_store.tables();
  const HostOffset table = set.snapshot_table;
  set.snapshots = snapshots - 1;
  if (set.snapshots == 0) set.snapshot_table = HostOffset();
  co_await context_->header_store.set_tables(set);
  if (set.snapshots > 0) co_return;
  const layout::Geometry& geometry = context_->geometry;
  allocator_->defer_free({geometry.cluster_of(table), geometry.clusters_for(table_size)});
}

// Consecutive clusters with one reference become one range.
Task<void> RemovalInPlace::free_sole_references(ClusterRange range) {
  for (HostCluster cluster = range.first; cluster < range.end(); cluster += 1) {
    const uint64_t refcount = co_await refcounts_->get(cluster);
    if (refcount == 1) allocator_->defer_free({cluster, 1}, FreeCause::kSnapshot);
  }
}

Task<void> RemovalInPlace::free_clusters(std::vector<uint64_t> l1) {
  L2TableWalk walk(context_, &l1);
  for (;;) {
    const std::optional<L2TableWalk::Table> table = co_await walk.next();
    if (!table) break;
    const std::vector<ClusterRange> clusters = clusters_of(*context_, *table);
    for (const ClusterRange& range : clusters) co_await free_sole_references(range);
  }
  reader_->drop_all_compressed();
  co_await flusher_->settle();
}

}  // namespace byre::qcow2
