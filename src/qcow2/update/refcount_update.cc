// SPDX-License-Identifier: Apache-2.0
#include "qcow2/update/refcount_update.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/bytes.h"
#include "block/read_zero_padded.h"
#include "qcow2/layout/limits.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

using layout::RefcountTableEntry;

RefcountUpdate::Block* RefcountUpdate::block_of(HostCluster cluster) const {
  const uint64_t index = refcounts_->table_index(cluster);
  return index < blocks_.size() ? blocks_[index].get() : nullptr;
}

// A block that does not exist is not created: all its refcounts are 0.
Task<void> RefcountUpdate::load_block(uint64_t table_index) {
  if (!refcounts_->has_block(table_index)) co_return;
  auto block = std::make_unique<Block>();
  block->bytes = Buffer(context_->geometry.cluster_size());
  const ReadBuffers to(block->bytes.bytes());
  co_await context_->events().raise(DebugEvent::kRefblockLoad);
  co_await read_zero_padded(&context_->file(), refcounts_->block_offset(table_index).value(), to);
  if (blocks_.size() <= table_index) blocks_.resize(table_index + 1);
  blocks_[table_index] = std::move(block);
}

Task<void> RefcountUpdate::load(ClusterRange range) {
  if (range.count == 0) co_return;
  const uint64_t end =
      std::min(refcounts_->table_index(range.end() - 1) + 1, refcounts_->table_entries());
  for (uint64_t index = refcounts_->table_index(range.first); index < end; ++index) {
    if (index >= blocks_.size() || !blocks_[index]) co_await load_block(index);
  }
}

bool RefcountUpdate::is_loaded(ClusterRange range) const {
  if (range.count == 0) return true;
  for (uint64_t index = refcounts_->table_index(range.first),
                last = refcounts_->table_index(range.end() - 1);
       index <= last; ++index) {
    if (index >= blocks_.size() || !blocks_[index]) return false;
  }
  return true;
}

uint64_t RefcountUpdate::get(HostCluster cluster) const {
  const Block* const block = block_of(cluster);
  if (block == nullptr) return 0;
  return layout::load_refcount(block->bytes.bytes(),
                               context_->geometry.refcount_block_index(cluster),
                               context_->geometry.refcount_order());
}

// REQUIRES: its block is in memory.
void RefcountUpdate::set(HostCluster cluster, uint64_t refcount) {
  Block* const block = block_of(cluster);
  layout::store_refcount(block->bytes.bytes(), context_->geometry.refcount_block_index(cluster),
                         context_->geometry.refcount_order(), refcount);
  block->is_changed = true;
}

Error RefcountUpdate::unreferenced(HostCluster cluster) const {
  const uint64_t offset = context_->geometry.offset_of(cluster).value();
  return context_->health.report_corruption(
      {.code = "qcow2-refcount-too-low", .value = 0, .offset = offset},
      fmt::format("the refcount of the cluster at {:#x} is 0, though it is in use", offset));
}

ClusterRange RefcountUpdate::part_in_block(ClusterRange range) const {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t rest =
      geometry.refcount_block_entries() - geometry.refcount_block_index(range.first);
  return {range.first, std::min(range.count, rest)};
}

uint64_t RefcountUpdate::count_alike(ClusterRange range) const {
  const Block* const block = block_of(range.first);
  const ClusterRange part = part_in_block(range);
  if (block == nullptr) return part.count;
  return layout::count_alike_refcounts(block->bytes.bytes(),
                                       context_->geometry.refcount_block_index(part.first),
                                       part.count, context_->geometry.refcount_order());
}

void RefcountUpdate::add(ClusterRange range) {
  while (range.count > 0) {
    const ClusterRange part = part_in_block(range);
    Block* const block = block_of(part.first);
    if (block == nullptr) throw unreferenced(part.first);
    block->is_changed = true;
    const uint64_t done = layout::increment_refcounts(
        block->bytes.bytes(), context_->geometry.refcount_block_index(part.first), part.count,
        context_->geometry.refcount_order());
    const HostCluster next = part.first + done;
    if (done < part.count && get(next) == 0) throw unreferenced(next);
    if (done < part.count) throw refcounts_->overflow(next);
    range = {next, range.count - done};
  }
}

void RefcountUpdate::subtract(ClusterRange range) {
  while (range.count > 0) {
    const ClusterRange part = part_in_block(range);
    Block* const block = block_of(part.first);
    if (block == nullptr) throw unreferenced(part.first);
    const uint64_t done = layout::decrement_refcounts(
        block->bytes.bytes(), context_->geometry.refcount_block_index(part.first), part.count,
        context_->geometry.refcount_order(), &has_new_sole_references_);
    block->is_changed |= done > 0;
    range = {part.first + done, range.count - done};
    if (done == part.count) continue;
    subtract_last(range.first);
    range = {range.first + 1, range.count - 1};
  }
}

// The refcount, which is 1 or, in a damaged image, 0, stays until release().
void RefcountUpdate::subtract_last(HostCluster cluster) {
  if (get(cluster) == 0) throw unreferenced(cluster);
  Block* const block = block_of(cluster);
  const uint64_t index = context_->geometry.refcount_block_index(cluster);
  if (block->freed.empty()) block->freed.resize(context_->geometry.refcount_block_entries());
  if (block->freed[index]) throw unreferenced(cluster);
  block->freed[index] = true;
  if (!freed_.empty() && freed_.back().end() == cluster) {
    ++freed_.back().count;
  } else {
    freed_.push_back({cluster, 1});
  }
}

// Blocks that do not exist yet are created.
Task<void> RefcountUpdate::set_used(ClusterRange range) {
  co_await load(range);
  for (HostCluster cluster = range.first; cluster < range.end(); cluster += 1) {
    const uint64_t index = refcounts_->table_index(cluster);
    if (blocks_.size() <= index) blocks_.resize(index + 1);
    if (!blocks_[index]) {
      blocks_[index] = std::make_unique<Block>();
      blocks_[index]->bytes = Buffer::zeroed(context_->geometry.cluster_size());
    }
    set(cluster, 1);
  }
}

Task<ClusterRange> RefcountUpdate::allocate(uint64_t count) {
  const ClusterRange range = co_await free_.take(count);
  co_await set_used(range);
  co_return range;
}

Task<void> RefcountUpdate::release(GatheringWriter* writer) {
  const uint32_t order = context_->geometry.refcount_order();
  for (uint64_t index = 0; index < blocks_.size(); ++index) {
    Block* const block = blocks_[index].get();
    if (block == nullptr || block->freed.empty()) continue;
    for (uint64_t entry = 0; entry < block->freed.size(); ++entry) {
      if (block->freed[entry]) layout::store_refcount(block->bytes.bytes(), entry, order, 0);
    }
    co_await writer->write(refcounts_->block_offset(index).value(), block->bytes.bytes());
  }
  co_await writer->finish();
}

// A block that changed moves; its old cluster has a reference less, which may change another block.
// Returns false if there was nothing to do.
Task<bool> RefcountUpdate::place_blocks() {
  bool has_placed = false;
  for (uint64_t index = 0; index < blocks_.size(); ++index) {
    if (!blocks_[index] || !blocks_[index]->is_changed || !blocks_[index]->place.is_zero())
      continue;
    const ClusterRange place = co_await allocate(1);
    blocks_[index]->place = place.first;
    has_placed = true;
    if (!refcounts_->has_block(index)) continue;
    const ClusterRange old{context_->geometry.cluster_of(refcounts_->block_offset(index)), 1};
    co_await load(old);
    subtract(old);
  }
  co_return has_placed;
}

Task<void> RefcountUpdate::place_table() {
  const layout::Header& header = context_->header();
  const ClusterRange old{context_->geometry.cluster_of(header.refcount_table_offset),
                         header.refcount_table_clusters};
  co_await load(old);
  subtract(old);
  for (;;) {
    bool has_placed = true;
    while (has_placed) has_placed = co_await place_blocks();
    const uint64_t clusters = std::max<uint64_t>(
        header.refcount_table_clusters, context_->geometry.clusters_for_entries(blocks_.size()));
    if (table_place_.count >= clusters) break;
    // The clusters of the smaller table stay unused by this update, and are free after it.
    for (HostCluster cluster = table_place_.first; cluster < table_place_.end(); cluster += 1) {
      set(cluster, 0);
    }
    table_place_ = co_await allocate(clusters);
  }
}

Task<void> RefcountUpdate::write(GatheringWriter* writer) {
  const layout::Geometry& geometry = context_->geometry;
  co_await place_table();
  const uint64_t entries = table_place_.count * geometry.cluster_size() / 8;
  constexpr uint64_t kEntriesMax = layout::limits::kRefcountTableEntriesMax;
  if (blocks_.size() > kEntriesMax) {
    throw Error(ErrorKind::kNoSpace, EFBIG,
                ErrorData{.code = "qcow2-refcount-table-full",
                          .value = blocks_.size(),
                          .bound = kEntriesMax,
                          .file = context_->file().filename()},
                fmt::format("the refcount table would need {} entries; at most {} are allowed",
                            blocks_.size(), kEntriesMax));
  }
  table_ = refcounts_->table();
  table_.resize(entries);
  for (uint64_t index = 0; index < blocks_.size(); ++index) {
    const Block* const block = blocks_[index].get();
    if (block == nullptr || !block->is_changed) continue;
    const HostOffset offset = geometry.offset_of(block->place);
    table_[index] = RefcountTableEntry::block(offset).word();
    co_await writer->write(offset.value(), block->bytes.bytes());
  }
  Buffer bytes(entries * 8);
  for (uint64_t index = 0; index < entries; ++index) {
    store_big_endian<uint64_t>(bytes.data() + index * 8, table_[index]);
  }
  co_await writer->write(geometry.offset_of(table_place_.first).value(), bytes.bytes());
}

}  // namespace byre::qcow2
