// SPDX-License-Identifier: Apache-2.0
#include "qcow2/resize/shrink.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/read/mapping.h"
#include "qcow2/read/reader.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/tables/tables.h"
#include "qcow2/write/flusher.h"
#include "qcow2/write/linker.h"
#include "qcow2/write/zeroing.h"

namespace byre::qcow2 {

using layout::GuestOffset;
using layout::HostOffset;
using layout::L1Entry;
using layout::L1Kind;
using layout::L2Entry;

Task<void> Shrink::run(uint64_t new_size) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  // Another request may have shrunk the disk meanwhile.
  if (new_size >= context_->disk_size()) co_return;
  co_await clear_rest_of_cluster(new_size);
  co_await unmap_in_last_table(new_size);
  const uint64_t l1_entries = context_->geometry.l1_entries_for(new_size);
  const bool drops_entries = l1_entries < tables_->l1.size();
  if (drops_entries) co_await context_->events().raise(DebugEvent::kL1ShrinkFreeL2Clusters);
  co_await drop_tables(l1_entries);
  if (drops_entries) co_await context_->events().raise(DebugEvent::kL1ShrinkWriteTable);
  co_await flusher_->flush();
  const uint64_t old_size = context_->disk_size();
  co_await context_->header_store.set_size(new_size);
  if (context_->storage.data_file()) co_await cut_data_file(old_size);
  co_await allocator_->truncate_to_used();
}

Task<void> Shrink::clear_rest_of_cluster(uint64_t new_size) {
  const layout::Geometry& geometry = context_->geometry;
  const GuestOffset end(align_up(new_size, geometry.cluster_size()));
  for (GuestOffset at(new_size); at < end;) {
    const GuestRun run = co_await mapping_->run_at(at, end - at);
    const bool has_bytes = run.kind == RunKind::kData || run.kind == RunKind::kCompressed;
    if (has_bytes) co_await zeroing_->clear_locked(at, run.length);
    at += run.length;
  }
}

Task<void> Shrink::unmap_in_last_table(uint64_t new_size) {
  const layout::Geometry& geometry = context_->geometry;
  GuestOffset at(align_up(new_size, geometry.cluster_size()));
  const GuestOffset end(align_up(new_size, geometry.l2_coverage()));
  const L1Entry table(tables_->l1.entry(geometry.l1_index(at)));
  if (at >= end || table.kind(geometry) == L1Kind::kUnallocated) co_return;
  while (at < end) {
    const uint64_t count = std::min(geometry.clusters_for(end - at), linker_->clusters_max());
    const Linker::Change change = [](uint64_t, const L2Entry&) { return L2Entry(); };
    co_await linker_->change_releasing(at, count, change, Linker::Emptied::kKept);
    at += count << geometry.cluster_bits();
  }
}

Task<void> Shrink::drop_tables(uint64_t first_index) {
  const uint64_t end = tables_->l1.size();
  for (uint64_t i = tables_->l1.next_used(first_index, end); i < end;
       i = tables_->l1.next_used(i + 1, end)) {
    const L1Entry entry(tables_->l1.entry(i));
    if (entry.kind(context_->geometry) == L1Kind::kUnallocated) continue;
    co_await drop_table(i, entry.offset());
    co_await flusher_->flush_if_backlogged();
  }
}

Task<void> Shrink::drop_table(uint64_t l1_index, HostOffset table) {
  const std::vector<ClusterRange> clusters = co_await clusters_of(l1_index, table);
  // Nothing is freed while something refers to it, so what may lack memory comes first. No await in
  // between, so that a flush sees the frees and the removal of the references together.
  allocator_->reserve_deferred(clusters.size() + 1);
  tables_->l1.set(l1_index, 0);
  for (const ClusterRange& range : clusters) allocator_->defer_free(range, FreeCause::kDiscard);
  allocator_->defer_free({context_->geometry.cluster_of(table), 1}, FreeCause::kDiscard);
  overlap_->remove_l2_table(table);
  co_await tables_->l2_cache.invalidate(table.value(), context_->geometry.cluster_size());
}

// The clusters that the entries of a table refer to. Even in a table shared with a snapshot, the
// active disk has its own reference to each cluster.
Task<std::vector<ClusterRange>> Shrink::clusters_of(uint64_t l1_index, HostOffset table) {
  const layout::Geometry& geometry = context_->geometry;
  const uint32_t per_slice = mapping_->entries_per_slice();
  std::vector<ClusterRange> clusters;
  const auto add = [&clusters](HostCluster first, uint64_t count) {
    if (!clusters.empty() && clusters.back().end() == first) {
      clusters.back().count += count;
    } else {
      clusters.push_back({first, count});
    }
  };
  for (uint32_t first = 0; first < geometry.l2_entries(); first += per_slice) {
    const GuestOffset start = geometry.guest_offset(l1_index, first);
    const TableCache::Slice slice = co_await mapping_->l2_slice(start);
    for (uint32_t i = 0; i < per_slice; ++i) {
      const L2Entry entry = slice.l2_entry(i);
      if (geometry.external_data_file()) continue;
      if (entry.is_compressed()) {
        const layout::CompressedRange range = entry.compressed_range(geometry);
        const HostCluster from = geometry.cluster_of(range.offset);
        const HostCluster to = geometry.cluster_of(range.offset + (range.size - 1));
        add(from, to - from + 1);
        reader_->drop_compressed(range.offset, range.size);
      } else if (entry.has_offset(geometry) && linker_->may_free(entry)) {
        add(geometry.cluster_of(entry.offset()), 1);
      }
    }
  }
  co_return clusters;
}

// A raw data file is as long as the disk; in another one the bytes past the disk may be discarded.
Task<void> Shrink::cut_data_file(uint64_t old_size) {
  BlockDevice& data_file = *context_->storage.data_file();
  if (context_->header().has_raw_external_data()) {
    if (data_file.size() <= context_->disk_size()) co_return;
    co_await data_file.resize(context_->disk_size(), Preallocation::kOff);
    co_return;
  }
  const uint64_t begin = align_up(context_->disk_size(), context_->geometry.cluster_size());
  co_await discard_inside(&data_file, begin, old_size);
}

}  // namespace byre::qcow2
