// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/refcount_rebuild.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "block/buffer.h"
#include "block/gathering_writer.h"
#include "qcow2/layout/limits.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::RefcountTableEntry;

namespace {

layout::Geometry with_order(layout::Header header, uint32_t order) {
  header.refcount_order = order;
  return layout::Geometry(header);
}

void append(std::vector<ClusterRange>& ranges, ClusterRange range) {
  if (!ranges.empty() && ranges.back().end() == range.first) {
    ranges.back().count += range.count;
  } else {
    ranges.push_back(range);
  }
}

struct Entries {
  Bytes block;
  uint64_t index = 0;
  uint32_t order = 0;
};

// REQUIRES: all values fit.
void copy_refcounts(Entries from, Entries to, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t free =
        layout::count_free_refcounts(from.block, from.index + i, count - i, from.order);
    i += free;
    for (; i < count; ++i) {
      const uint64_t refcount = layout::load_refcount(from.block, from.index + i, from.order);
      if (refcount == 0) break;
      layout::store_refcount(to.block, to.index + i, to.order, refcount);
    }
  }
}

}  // namespace

RefcountRebuild::RefcountRebuild(Context* context, Refcounts* refcounts, Allocator* allocator,
                                 uint32_t order, AmendProgress on_progress)
    : context_(context),
      refcounts_(refcounts),
      free_(allocator),
      new_geometry_(with_order(context->header(), order)),
      on_progress_(std::move(on_progress)) {
  for (uint64_t index = 0; index < refcounts_->table_entries(); ++index) {
    if (refcounts_->has_block(index)) ++old_blocks_;
  }
}

HostCluster RefcountRebuild::start_of(const Block& block) const {
  return context_->geometry.refcount_block_start(block.table_index);
}

HostCluster RefcountRebuild::end_of(const Block& block) const {
  return context_->geometry.refcount_block_start(block.table_index + 1);
}

void RefcountRebuild::report(uint64_t blocks_read, uint64_t blocks_written) const {
  if (!on_progress_) return;
  // Until it is known, as many as the entries of the old ones fill.
  const uint32_t old_bits = context_->geometry.refcount_bits();
  const uint64_t expected =
      std::max<uint64_t>(old_blocks_ * new_geometry_.refcount_bits() / old_bits, 1);
  on_progress_(blocks_read + blocks_written,
               old_blocks_ + (needed_count_ > 0 ? std::max(needed_count_, expected) : expected));
}

void RefcountRebuild::check_fits(const Block& block) const {
  const uint32_t order = context_->geometry.refcount_order();
  const uint64_t refcount_max = new_geometry_.refcount_max();
  const uint64_t entries = context_->geometry.refcount_block_entries();
  for (uint64_t index = 0; index < entries; ++index) {
    index += layout::count_free_refcounts(block.bytes, index, entries - index, order);
    if (index == entries) break;
    const uint64_t refcount = layout::load_refcount(block.bytes, index, order);
    if (refcount <= refcount_max) continue;
    const uint64_t offset = context_->geometry.offset_of(start_of(block) + index).value();
    throw Error(
        ErrorKind::kUnsupported, EINVAL,
        ErrorData{.code = "qcow2-refcount-too-large",
                  .value = refcount,
                  .bound = new_geometry_.refcount_bits(),
                  .offset = offset,
                  .text = fmt::format("{:#x}", offset)},
        fmt::format("the refcount of the cluster at {:#x} is {}, more than {} bits can hold",
                    offset, refcount, new_geometry_.refcount_bits()));
  }
}

Task<void> RefcountRebuild::check_fits() {
  if (new_geometry_.refcount_bits() >= context_->geometry.refcount_bits()) co_return;
  RefcountBlockWalk walk(context_, refcounts_);
  for (;;) {
    const std::optional<Block> block = co_await walk.next();
    if (!block) break;
    check_fits(*block);
  }
}

void RefcountRebuild::note_needed(HostCluster cluster) {
  const uint64_t index = new_geometry_.refcount_table_index(cluster);
  if (needed_.size() <= index) needed_.resize(index + 1);
  if (needed_[index]) return;
  needed_[index] = true;
  ++needed_count_;
}

void RefcountRebuild::note_used(const Block& block) {
  const uint64_t entries = context_->geometry.refcount_block_entries();
  const uint64_t step = std::min(entries, new_geometry_.refcount_block_entries());
  for (uint64_t first = 0; first < entries; first += step) {
    const uint64_t free =
        layout::count_free_refcounts(block.bytes, first, step, context_->geometry.refcount_order());
    if (free < step) note_needed(start_of(block) + first);
  }
}

Task<void> RefcountRebuild::plan() {
  const bool may_be_too_large = new_geometry_.refcount_bits() < context_->geometry.refcount_bits();
  RefcountBlockWalk walk(context_, refcounts_);
  for (uint64_t blocks = 0;; ++blocks) {
    report(blocks, 0);
    const std::optional<Block> block = co_await walk.next();
    if (!block) break;
    if (may_be_too_large) check_fits(*block);
    note_used(*block);
  }
  co_await place();
}

// What was allocated is counted, too, and may need another block.
Task<ClusterRange> RefcountRebuild::allocate(uint64_t count) {
  const ClusterRange range = co_await free_.take(count);
  const uint64_t step = new_geometry_.refcount_block_entries();
  for (HostCluster at = range.first; at < range.end(); at += step) note_needed(at);
  note_needed(range.end() - 1);
  co_return range;
}

void RefcountRebuild::check_table_size() const {
  constexpr uint64_t kEntriesMax = layout::limits::kRefcountTableEntriesMax;
  if (needed_.size() <= kEntriesMax) return;
  throw Error(ErrorKind::kNoSpace, EFBIG,
              ErrorData{.code = "qcow2-refcount-table-full",
                        .value = needed_.size(),
                        .bound = kEntriesMax,
                        .file = context_->file().filename()},
              fmt::format("the refcount table would need {} entries; at most {} are allowed",
                          needed_.size(), kEntriesMax));
}

// A table that turns out to be too small is not used, and its clusters stay free.
Task<void> RefcountRebuild::place() {
  uint64_t placed = 0;
  for (;;) {
    check_table_size();
    const uint64_t table_clusters = new_geometry_.clusters_for_entries(needed_.size());
    if (table_place_.count < table_clusters) {
      table_place_ = co_await allocate(table_clusters);
    } else if (placed < needed_count_) {
      const ClusterRange place = co_await allocate(1);
      append(block_places_, place);
      ++placed;
    } else {
      break;
    }
  }
  own_clusters_ = block_places_;
  own_clusters_.push_back(table_place_);
  std::ranges::sort(own_clusters_, {}, &ClusterRange::first);
}

void RefcountRebuild::count_own_clusters(Bytes block, uint64_t table_index) {
  const HostCluster start = new_geometry_.refcount_block_start(table_index);
  const HostCluster end = new_geometry_.refcount_block_start(table_index + 1);
  for (; next_own_ < own_clusters_.size(); ++next_own_) {
    const ClusterRange& range = own_clusters_[next_own_];
    if (range.first >= end) return;
    for (HostCluster cluster = std::max(range.first, start), last = std::min(range.end(), end);
         cluster < last; cluster += 1) {
      layout::store_refcount(block, new_geometry_.refcount_block_index(cluster),
                             new_geometry_.refcount_order(), 1);
    }
    if (range.end() > end) return;
  }
}

Task<void> RefcountRebuild::write() {
  const uint64_t block_size = new_geometry_.cluster_size();
  GatheringWriter writer(&context_->file());
  RefcountBlockWalk walk(context_, refcounts_);
  table_.assign(table_place_.count * block_size / 8, 0);
  std::optional<Block> old = co_await walk.next();
  auto places = block_places_.begin();
  uint64_t next_in_places = 0;
  uint64_t written = 0;
  for (uint64_t index = 0; index < needed_.size(); ++index) {
    if (!needed_[index]) continue;
    if (next_in_places == places->count) {
      ++places;
      next_in_places = 0;
    }
    const layout::HostOffset offset = new_geometry_.offset_of(places->first + next_in_places++);
    table_[index] = RefcountTableEntry::block(offset).word();
    const Bytes block = co_await writer.reserve(offset.value(), block_size);
    const HostCluster start = new_geometry_.refcount_block_start(index);
    const HostCluster end = new_geometry_.refcount_block_start(index + 1);
    while (old && start_of(*old) < end) {
      const HostCluster from = std::max(start, start_of(*old));
      const HostCluster to = std::min(end, end_of(*old));
      if (from < to) {
        const Entries source{old->bytes, from - start_of(*old),
                             context_->geometry.refcount_order()};
        const Entries target{block, from - start, new_geometry_.refcount_order()};
        copy_refcounts(source, target, to - from);
      }
      if (end_of(*old) > end) break;
      old = co_await walk.next();
    }
    count_own_clusters(block, index);
    report(old_blocks_, ++written);
  }
  Buffer table(table_.size() * 8);
  for (size_t i = 0; i < table_.size(); ++i) {
    store_big_endian<uint64_t>(table.data() + i * 8, table_[i]);
  }
  co_await writer.write(new_geometry_.offset_of(table_place_.first).value(), table.bytes());
  co_await writer.finish();
}

}  // namespace byre::qcow2
