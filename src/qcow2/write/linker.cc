// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/linker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>

#include "async/clean_up.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/read/mapping.h"
#include "qcow2/read/reader.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/space/overlap_check.h"

namespace byre::qcow2 {

using layout::HostOffset;
using layout::L1Entry;
using layout::L1Kind;
using layout::L2Entry;

namespace {

// The most slices that one change pins.
constexpr uint64_t kSlicesMax = 32;

}  // namespace

uint64_t Linker::clusters_max() const {
  return kSlicesMax * mapping_->entries_per_slice();
}

bool Linker::is_faulty(const L2Entry& entry, GuestOffset cluster) const {
  const layout::Geometry& geometry = context_->geometry;
  const bool is_elsewhere = geometry.external_data_file() && entry.has_offset(geometry) &&
                            entry.offset().value() != cluster.value();
  return is_elsewhere || entry.problem(geometry) != layout::L2Problem::kNone;
}

void Linker::check_entry(const L2Entry& entry, GuestOffset offset, uint64_t length) const {
  // Mapping builds the message.
  if (is_faulty(entry, context_->geometry.cluster_start(offset))) {
    mapping_->find_run(offset, length);
  }
}

Task<std::vector<TableCache::Slice>> Linker::slices_of(GuestOffset first, uint64_t count,
                                                       const Change* new_entry) {
  const layout::Geometry& geometry = context_->geometry;
  const uint32_t per_slice = mapping_->entries_per_slice();
  std::vector<TableCache::Slice> slices;
  for (uint64_t done = 0; done < count;) {
    const GuestOffset at = first + (done << geometry.cluster_bits());
    co_await ensure_table(at);
    TableCache::Slice slice = co_await mapping_->l2_slice(at);
    if (!slice.has_space()) co_await tables_->l2_cache.reserve_space(slice);
    const uint32_t start = mapping_->l2_slice_index(at);
    const uint64_t end = std::min<uint64_t>(per_slice, start + (count - done));
    for (uint32_t index = start; index < end; ++index, ++done) {
      const L2Entry entry = L2Entry::load(slice.bytes(), index, geometry);
      const GuestOffset cluster = geometry.cluster_start(first + (done << geometry.cluster_bits()));
      if (!is_faulty(entry, cluster)) continue;
      if (new_entry != nullptr) {
        const L2Entry after = (*new_entry)(done, entry);
        if (!after.has_offset(geometry) && !is_faulty(after, cluster)) continue;
      }
      check_entry(entry, cluster, geometry.cluster_size());
    }
    slices.push_back(std::move(slice));
  }
  co_return slices;
}

// Once the memory for deferred frees is reserved, nothing here can fail: new_entry() must not
// throw.
void Linker::replace(const std::vector<TableCache::Slice>& slices, GuestOffset first,
                     uint64_t count, const Change& new_entry, FreeCause cause, Emptied emptied) {
  const layout::Geometry& geometry = context_->geometry;
  const uint32_t per_slice = mapping_->entries_per_slice();
  if (!geometry.external_data_file()) allocator_->reserve_deferred(count);
  uint64_t done = 0;
  for (const TableCache::Slice& slice : slices) {
    const uint32_t start = mapping_->l2_slice_index(first + (done << geometry.cluster_bits()));
    const uint64_t end = std::min<uint64_t>(per_slice, start + (count - done));
    for (uint32_t index = start; index < end; ++index) {
      const L2Entry before = L2Entry::load(slice.bytes(), index, geometry);
      const GuestOffset cluster = geometry.cluster_start(first + (done << geometry.cluster_bits()));
      const L2Entry after = new_entry(done++, before);
      if (after == before) continue;
      after.store(slice.bytes(), index, geometry);
      slice.mark_dirty();
      free_former(before, after, cause);
      if (emptied == Emptied::kDiscarded) discard_former(before, after, cluster);
    }
  }
}

Task<void> Linker::change(GuestOffset first, uint64_t count, const Change& new_entry) {
  const std::vector<TableCache::Slice> slices = co_await slices_of(first, count, nullptr);
  if (!context_->uses_lazy_refcounts()) {
    co_await tables_->l2_cache.depend_on(tables_->refcount_cache);
  }
  tables_->l2_cache.depend_on_flush();
  replace(slices, first, count, new_entry, FreeCause::kOther, Emptied::kKept);
}

Task<void> Linker::change_releasing(GuestOffset first, uint64_t count, const Change& new_entry,
                                    Emptied emptied) {
  const std::vector<TableCache::Slice> slices = co_await slices_of(first, count, &new_entry);
  replace(slices, first, count, new_entry, FreeCause::kDiscard, emptied);
}

// Adds the cluster that `before` referred to to the deferred discards, if it stays allocated and is
// no longer read.
void Linker::discard_former(const L2Entry& before, const L2Entry& after, GuestOffset cluster) {
  const layout::Geometry& geometry = context_->geometry;
  if (before.is_compressed() || !before.has_offset(geometry) || is_faulty(before, cluster)) return;
  if (after.has_offset(geometry)) {
    const L2Entry empty = L2Entry::zero_allocated(before.offset(), after.copied(), geometry);
    // Some of its subclusters may still be read, and a snapshot may share it.
    const bool is_own = geometry.external_data_file() || before.copied();
    if (after != empty || !is_own) return;
  } else if (!geometry.external_data_file()) {
    return;
  }
  if (!allocator_->passes_discard(FreeCause::kDiscard)) return;
  discards_->add(geometry.cluster_of(before.offset()));
}

bool Linker::may_free(const L2Entry& entry) const {
  if (context_->geometry.is_cluster_aligned(entry.offset())) return true;
  const uint64_t offset = entry.offset().value();
  context_->health.warn_of_corruption(
      {.code = "qcow2-freed-cluster-unaligned", .value = offset},
      fmt::format("the cluster at {:#x} cannot be freed: its offset is not a multiple of the "
                  "cluster size {}",
                  offset, context_->geometry.cluster_size()));
  return false;
}

void Linker::free_former(const L2Entry& before, const L2Entry& after, FreeCause cause) {
  const layout::Geometry& geometry = context_->geometry;
  if (geometry.external_data_file()) return;
  if (before.is_compressed()) {
    if (after.is_compressed() && after == before) return;
    const layout::CompressedRange range = before.compressed_range(geometry);
    const HostCluster first = geometry.cluster_of(range.offset);
    const HostCluster last = geometry.cluster_of(range.offset + (range.size - 1));
    allocator_->defer_free({first, last - first + 1}, cause);
    reader_->drop_compressed(range.offset, range.size);
    return;
  }
  if (!before.has_offset(geometry)) return;
  const bool kept =
      !after.is_compressed() && after.has_offset(geometry) && after.offset() == before.offset();
  if (kept || !may_free(before)) return;
  allocator_->defer_free({geometry.cluster_of(before.offset()), 1}, cause);
}

Task<void> Linker::ensure_table(GuestOffset guest_offset) {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t index = geometry.l1_index(guest_offset);
  const L1Entry now(tables_->l1.entry(index));
  if (now.kind(geometry) == L1Kind::kTable && now.copied()) co_return;
  const Mutex::Guard guard = co_await l1_mutex_.lock();
  const L1Entry before(tables_->l1.entry(index));
  const L1Kind kind = before.kind(geometry);
  if (kind == L1Kind::kTable && before.copied()) co_return;
  if (kind == L1Kind::kInvalid) {
    throw mapping_->unaligned_table(before, index);
  }
  const ClusterRange place = co_await allocator_->allocate_all(1);
  const HostOffset table = geometry.offset_of(place.first);
  std::exception_ptr error;
  try {
    co_await context_->file().reserve_space(table.value(), geometry.cluster_size());
    co_await tables_->l1.reserve_space(&context_->file(), index);
    co_await fill_table(table, before.offset());
    // What may lack memory comes before the first change.
    allocator_->reserve_deferred(1);
    overlap_->add_l2_table(table);
    tables_->l1.set(index, L1Entry::table(table, true).word());
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    overlap_->remove_l2_table(table);
    Task<void> dropping = drop_table(table);
    co_await clean_up_and_rethrow(std::move(dropping), error);
  }
  if (kind != L1Kind::kTable) co_return;
  overlap_->remove_l2_table(before.offset());
  allocator_->defer_free({geometry.cluster_of(before.offset()), 1});
}

Task<void> Linker::drop_table(HostOffset table) {
  const layout::Geometry& geometry = context_->geometry;
  const ClusterRange place{geometry.cluster_of(table), 1};
  co_await tables_->l2_cache.invalidate(table.value(), geometry.cluster_size());
  co_await allocator_->free(place);
}

Task<void> Linker::fill_table(HostOffset new_table, HostOffset old_table) {
  TableCache& cache = tables_->l2_cache;
  for (uint64_t at = 0; at < context_->geometry.cluster_size(); at += cache.slice_size()) {
    TableCache::Slice from;
    if (!old_table.is_zero()) {
      co_await context_->events().raise(DebugEvent::kL2AllocCowRead);
      from = co_await cache.get(old_table.value() + at);
    }
    const TableCache::Slice to = co_await cache.get_new(new_table.value() + at);
    if (from) std::memcpy(to.bytes().data(), from.bytes().data(), to.bytes().size());
    to.mark_dirty();
    co_await context_->events().raise(DebugEvent::kL2AllocWrite);
  }
}

}  // namespace byre::qcow2
