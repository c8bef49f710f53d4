// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/cluster_sharing.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "async/clean_up.h"
#include "base/checked.h"
#include "qcow2/space/allocator.h"
#include "qcow2/write/linker.h"

namespace byre::qcow2 {

using layout::L2Entry;

uint64_t ClusterSharing::clusters_in_slice(GuestOffset at, GuestOffset end) const {
  const uint64_t rest = mapping_->entries_per_slice() - mapping_->l2_slice_index(at);
  return std::min(rest, context_->geometry.clusters_for(end - at));
}

Task<void> ClusterSharing::share(size_t snapshot, GuestOffset offset, uint64_t length) {
  const RangeLock::Guard guard = co_await context_->guest_lock.acquire(
      offset.value(), align_up(length, context_->geometry.cluster_size()),
      RangeLock::Mode::kExclusive);
  const layout::Snapshot& entry = (*snapshots_)[snapshot];
  if (l1_.offset() != entry.l1_table_offset.value()) {
    l1_ = co_await L1Table::load(&context_->file(), entry.l1_table_offset.value(), entry.l1_size);
  }
  Mapping mapping(context_, &l1_, &tables_->l2_cache);
  const GuestOffset end = offset + length;
  for (GuestOffset at = offset; at < end;) {
    const uint64_t count = clusters_in_slice(at, end);
    co_await share_clusters(&mapping, at, count);
    at += count << context_->geometry.cluster_bits();
  }
}

// The entries, which are valid, as the disk may have them.
Task<std::vector<L2Entry>> ClusterSharing::entries_of(Mapping* mapping, GuestOffset first,
                                                      uint64_t count) {
  const layout::Geometry& geometry = context_->geometry;
  std::vector<L2Entry> entries(count);
  const TableCache::Slice slice = co_await mapping->l2_slice(first);
  if (!slice) co_return entries;
  for (uint32_t i = 0; i < count; ++i) {
    const L2Entry entry = slice.l2_entry(mapping->l2_slice_index(first) + i);
    const GuestOffset cluster = first + (uint64_t{i} << geometry.cluster_bits());
    // This throws the error of the entry.
    if (linker_->is_faulty(entry, cluster)) mapping->find_run(cluster, geometry.cluster_size());
    entries[i] = entry.is_compressed() ? entry : entry.with_copied(false);
  }
  co_return entries;
}

// Whether both entries have the same cluster: the disk then keeps its reference. Their subclusters may
// differ.
bool ClusterSharing::have_same_cluster(const L2Entry& one, const L2Entry& other) const {
  if (one.is_compressed() || other.is_compressed()) return one.word() == other.word();
  return one.has_offset(context_->geometry) && one.offset() == other.offset();
}

// The clusters that the disk does not refer to yet.
std::vector<ClusterRange> ClusterSharing::new_clusters(const std::vector<L2Entry>& entries,
                                                       const std::vector<L2Entry>& before) const {
  const layout::Geometry& geometry = context_->geometry;
  std::vector<ClusterRange> clusters;
  for (size_t i = 0; i < entries.size(); ++i) {
    const L2Entry& entry = entries[i];
    if (have_same_cluster(entry, before[i])) continue;
    if (entry.is_compressed()) {
      const layout::CompressedRange range = entry.compressed_range(geometry);
      const HostCluster first = geometry.cluster_of(range.offset);
      const HostCluster last = geometry.cluster_of(range.offset + (range.size - 1));
      clusters.push_back({first, last - first + 1});
      continue;
    }
    if (!entry.has_offset(geometry)) continue;
    const HostCluster cluster = geometry.cluster_of(entry.offset());
    if (!clusters.empty() && clusters.back().end() == cluster) {
      ++clusters.back().count;
    } else {
      clusters.push_back({cluster, 1});
    }
  }
  return clusters;
}

Task<void> ClusterSharing::drop(std::vector<ClusterRange> clusters, size_t count) {
  for (size_t i = 0; i < count; ++i) co_await allocator_->free(clusters[i]);
}

Task<void> ClusterSharing::share_clusters(Mapping* mapping, GuestOffset first, uint64_t count) {
  const std::vector<L2Entry> entries = co_await entries_of(mapping, first, count);
  const std::vector<L2Entry> before = co_await entries_of(mapping_, first, count);
  std::vector<ClusterRange> clusters = new_clusters(entries, before);
  const Linker::Change change = [&entries](uint64_t index, const L2Entry&) {
    return entries[index];
  };
  size_t referenced = 0;
  std::exception_ptr error;
  try {
    for (; referenced < clusters.size(); ++referenced) {
      co_await allocator_->add_references(clusters[referenced]);
    }
    co_await linker_->change(first, count, change);
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) co_return;
  Task<void> dropping = drop(std::move(clusters), referenced);
  co_await clean_up_and_rethrow(std::move(dropping), error);
}

Task<void> ClusterSharing::unallocate(GuestOffset offset, uint64_t length) {
  const RangeLock::Guard guard = co_await context_->guest_lock.acquire(
      offset.value(), align_up(length, context_->geometry.cluster_size()),
      RangeLock::Mode::kExclusive);
  const Linker::Change change = [](uint64_t, const L2Entry&) { return L2Entry(); };
  const GuestOffset end = offset + length;
  for (GuestOffset at = offset; at < end;) {
    const uint64_t count = clusters_in_slice(at, end);
    const TableCache::Slice slice = co_await mapping_->l2_slice(at);
    if (slice) co_await linker_->change_releasing(at, count, change, Linker::Emptied::kKept);
    at += count << context_->geometry.cluster_bits();
  }
}

}  // namespace byre::qcow2
