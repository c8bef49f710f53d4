// SPDX-License-Identifier: Apache-2.0
#include "qcow2/update/table_update.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <new>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/l2_stretch.h"
#include "qcow2/space/overlap_check.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::HostOffset;
using layout::L1Entry;
using layout::L2Entry;
using layout::L2Stretch;

TableUpdate::TableUpdate(Context* context, Tables* tables, Refcounts* refcounts,
                         Allocator* allocator, OverlapCheck* overlap)
    : context_(context),
      tables_(tables),
      image_refcounts_(refcounts),
      allocator_(allocator),
      overlap_(overlap),
      refcounts_(context, refcounts, allocator),
      writer_(&context->file()),
      l1_table_(tables->l1.offset()),
      no_memory_(ErrorKind::kNoMemory, ENOMEM, errno_text(ENOMEM)) {}

Task<void> TableUpdate::begin() {
  lock_ = co_await allocator_->lock_for_update();
  l1_ = tables_->l1.entries();
}

Task<void> TableUpdate::change(ClusterRange range, Direction direction) {
  if (!refcounts_.is_loaded(range)) co_await refcounts_.load(range);
  switch (direction) {
    case Direction::kAdd:
      refcounts_.add(range);
      break;
    case Direction::kDrop:
      refcounts_.subtract(range);
      break;
    case Direction::kDropRemaining:
      for (HostCluster cluster = range.first; cluster < range.end(); cluster += 1) {
        if (refcounts_.get(cluster) > 0) refcounts_.subtract({cluster, 1});
      }
      break;
  }
}

Task<void> TableUpdate::change_references(const L1Entries& l1, Direction direction) {
  L2TableWalk walk(context_, &l1);
  for (;;) {
    const std::optional<L2TableWalk::Table> table = co_await walk.next();
    if (!table) break;
    const std::vector<ClusterRange> clusters = clusters_of(*context_, *table);
    for (const ClusterRange& range : clusters) co_await change(range, direction);
    const ClusterRange own{context_->geometry.cluster_of(table->offset), 1};
    co_await change(own, direction);
  }
}

Task<void> TableUpdate::add_references(const L1Entries& l1) {
  return change_references(l1, Direction::kAdd);
}

Task<void> TableUpdate::drop_references(const L1Entries& l1, Dropped dropped) {
  return change_references(l1,
                           dropped == Dropped::kAll ? Direction::kDrop : Direction::kDropRemaining);
}

Task<void> TableUpdate::drop_table(HostOffset table, uint64_t size) {
  const ClusterRange range{context_->geometry.cluster_of(table),
                           context_->geometry.clusters_for(size)};
  co_await change(range, Direction::kDrop);
}

// The entries at `index` of the table, which refer to clusters.
// REQUIRES: the refcounts of these are loaded.
bool TableUpdate::correct_flags_of(const L2Stretch& stretch, Bytes table, uint32_t index) const {
  const layout::Geometry& geometry = context_->geometry;
  bool is_changed = false;
  for (uint32_t done = 0; done < stretch.count;) {
    const L2Entry entry = stretch.entry(done);
    const ClusterRange rest{geometry.cluster_of(entry.offset()), stretch.count - done};
    const auto count = static_cast<uint32_t>(refcounts_.count_alike(rest));
    const L2Entry correct = entry.with_copied(refcounts_.get(rest.first) == 1);
    if (correct != entry) {
      const L2Stretch corrected{.first = correct, .step = stretch.step, .count = count};
      layout::store_l2_stretch(corrected, table, index + done, geometry);
      is_changed = true;
    }
    done += count;
  }
  return is_changed;
}

// Returns true if a flag was changed. Invalid entries stay as they are.
Task<bool> TableUpdate::correct_flags(Bytes table) {
  const layout::Geometry& geometry = context_->geometry;
  bool is_changed = false;
  if (geometry.external_data_file()) co_return false;
  for (uint32_t index = 0; index < geometry.l2_entries();) {
    const L2Stretch stretch = entries_alike(table, index, geometry);
    const L2Entry entry = stretch.first;
    const bool has_clusters =
        entry.has_offset(geometry) && geometry.is_cluster_aligned(entry.offset());
    if (has_clusters) {
      const ClusterRange clusters{geometry.cluster_of(entry.offset()), stretch.count};
      if (!refcounts_.is_loaded(clusters)) co_await refcounts_.load(clusters);
      is_changed |= correct_flags_of(stretch, table, index);
    }
    index += stretch.count;
  }
  co_return is_changed;
}

Task<void> TableUpdate::set_active_l1(L1Entries l1) {
  const layout::Geometry& geometry = context_->geometry;
  L2TableWalk walk(context_, &l1);
  for (;;) {
    const std::optional<L2TableWalk::Table> table = co_await walk.next();
    if (!table) break;
    const ClusterRange old{geometry.cluster_of(table->offset), 1};
    co_await refcounts_.load(old);
    const bool is_changed = co_await correct_flags(table->bytes);
    HostOffset place = table->offset;
    if (is_changed) {
      const ClusterRange copy = co_await refcounts_.allocate(1);
      place = geometry.offset_of(copy.first);
      co_await writer_.write(place.value(), table->bytes);
      refcounts_.subtract(old);
    }
    const bool is_own = refcounts_.get(geometry.cluster_of(place)) == 1;
    l1[table->l1_index] = L1Entry::table(place, is_own).word();
  }
  std::vector<uint8_t> bytes(l1.size() * 8);
  for (size_t i = 0; i < l1.size(); ++i) store_big_endian<uint64_t>(&bytes[i * 8], l1[i]);
  l1_table_ = co_await write_table(bytes);
  l1_ = std::move(l1);
}

Task<void> TableUpdate::replace_active_l1(L1Entries l1) {
  co_await drop_table(HostOffset(tables_->l1.offset()), uint64_t{tables_->l1.size()} * 8);
  co_await set_active_l1(std::move(l1));
}

Task<HostOffset> TableUpdate::write_table(ConstBytes bytes) {
  if (bytes.empty()) co_return HostOffset();
  const layout::Geometry& geometry = context_->geometry;
  const ClusterRange place = co_await refcounts_.allocate(geometry.clusters_for(bytes.size()));
  const HostOffset offset = geometry.offset_of(place.first);
  co_await writer_.write(offset.value(), bytes);
  co_return offset;
}

TableUpdate::Result TableUpdate::unchanged() const {
  const layout::Header& header = context_->header();
  return {header.size, header.snapshots_offset, header.snapshot_count};
}

Task<void> TableUpdate::commit(Result result) {
  co_await refcounts_.write(&writer_);
  co_await writer_.finish();
  const ClusterRange table = refcounts_.table_place();
  L1Table l1(l1_table_.value(), std::move(l1_));
  HeaderStore::TableSet set = context_->header_store.tables();
  set.size = result.size;
  set.l1_table = l1_table_;
  set.l1_entries = l1.size();
  set.refcount_table = context_->geometry.offset_of(table.first);
  set.refcount_table_clusters = static_cast<uint32_t>(table.count);
  set.snapshot_table = result.snapshot_table;
  set.snapshots = result.snapshots;
  co_await context_->header_store.set_tables(set);
  tables_->l1 = std::move(l1);
  image_refcounts_->replace_table(refcounts_.take_table());
}

Task<void> TableUpdate::commit_drops() {
  if (refcounts_.has_new_sole_references()) {
    L1Entries active = tables_->l1.entries();
    co_await replace_active_l1(std::move(active));
  }
  const Result result = unchanged();
  co_await commit(result);
}

// What there is no space to write down leaks.
Task<void> TableUpdate::release() {
  try {
    co_await refcounts_.release(&writer_);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNoSpace) throw;
  }
}

Task<void> TableUpdate::finish(FreeCause cause) {
  std::exception_ptr error;
  try {
    co_await release();
    co_await tables_->l2_cache.invalidate_all();
    co_await tables_->refcount_cache.invalidate_all();
    co_await overlap_->load(*image_refcounts_);
    co_await allocator_->finish_update(freed(), cause);
  } catch (const Error& failure) {
    // The parts of the image may not agree with the file any more.
    context_->health.note_failure(failure, Health::Operation::kFlush);
    error = std::current_exception();
  } catch (const std::bad_alloc&) {
    context_->health.note_failure(no_memory_, Health::Operation::kFlush);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace byre::qcow2
