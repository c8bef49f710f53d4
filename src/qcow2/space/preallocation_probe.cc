// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/preallocation_probe.h"

#include <algorithm>

#include "base/checked.h"
#include "block/read_zero_padded.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

namespace {

using layout::HostOffset;
using layout::RefcountTableEntry;
using layout::RefcountTableKind;

// Entries of the refcount table that are read at once.
constexpr uint64_t kTableEntriesMax = 4096;

// The number of the first `entries` refcounts of the block at `offset` that are not 0.
Task<uint64_t> count_used(Context* context, TableCache* refcount_cache, HostOffset block,
                          uint64_t entries) {
  const uint32_t order = context->geometry.refcount_order();
  TableCache& cache = *refcount_cache;
  const uint64_t per_slice = uint64_t{cache.slice_size()} * 8 >> order;
  uint64_t used = 0;
  for (uint64_t first = 0; first < entries; first += per_slice) {
    const uint64_t offset = block.value() + first / per_slice * cache.slice_size();
    const TableCache::Slice slice = co_await cache.get(offset);
    const uint64_t count = std::min(per_slice, entries - first);
    for (uint64_t index = 0; index < count; ++index) {
      used += layout::load_refcount(slice.bytes(), index, order) != 0;
    }
  }
  co_return used;
}

// Counts clusters in use among the first `clusters` of the file, up to `enough`.
Task<uint64_t> count_used_clusters(Context* context, TableCache* refcount_cache, uint64_t clusters,
                                   uint64_t enough) {
  const layout::Geometry& geometry = context->geometry;
  const layout::Header& header = context->header();
  const uint64_t per_block = geometry.refcount_block_entries();
  const uint64_t table_entries =
      std::min(div_ceil(clusters, per_block),
               uint64_t{header.refcount_table_clusters} * geometry.cluster_size() / 8);
  uint64_t used = 0;
  Buffer table(kTableEntriesMax * 8);
  for (uint64_t index = 0; index < table_entries && used < enough; ++index) {
    const uint64_t in_part = index % kTableEntriesMax;
    if (in_part == 0) {
      const uint64_t part = std::min(kTableEntriesMax, table_entries - index);
      const ReadBuffers to(table.bytes(0, part * 8));
      co_await read_zero_padded(&context->file(), header.refcount_table_offset.value() + index * 8,
                                to);
    }
    const RefcountTableEntry entry(load_big_endian<uint64_t>(table.data() + in_part * 8));
    if (!geometry.is_cluster_aligned(entry.offset())) {
      // The answer only affects speed; that the image is corrupt matters more.
      report_invalid_block(context, index, entry);
      co_return 0;
    }
    if (entry.kind(geometry) != RefcountTableKind::kBlock) continue;
    if (clusters < enough) continue;  // the answer is known; only look for faulty entries
    const uint64_t in_block = std::min(per_block, clusters - index * per_block);
    used += co_await count_used(context, refcount_cache, entry.offset(), in_block);
  }
  co_return used;
}

}  // namespace

Task<bool> looks_preallocated(Context* context, TableCache* refcount_cache) {
  const std::optional<uint64_t> allocated_size = context->file().allocated_size();
  if (!allocated_size) co_return false;
  const uint64_t stored = *allocated_size / context->geometry.cluster_size();
  const uint64_t threshold = std::max(stored * 10 / 9, stored + 2);
  const uint64_t clusters = context->geometry.clusters_for(context->file().size());
  const uint64_t used = co_await count_used_clusters(context, refcount_cache, clusters, threshold);
  co_return used >= threshold;
}

}  // namespace byre::qcow2
