// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/refcounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string>

#include "async/clean_up.h"
#include "block/buffer.h"
#include "block/read_zero_padded.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

using layout::RefcountTableEntry;
using layout::RefcountTableKind;

Task<void> Refcounts::load() {
  const layout::Header& header = context_->header();
  const uint64_t size = uint64_t{header.refcount_table_clusters} << header.cluster_bits;
  Buffer buffer(size);
  co_await context_->events().raise(DebugEvent::kReftableLoad);
  co_await read_zero_padded(&context_->file(), header.refcount_table_offset.value(),
                            buffer.bytes());
  table_.resize(size / 8);
  missing_blocks_.clear();
  for (uint64_t index = 0; index < table_.size(); ++index) {
    table_[index] = load_big_endian<uint64_t>(buffer.data() + index * 8);
    if (RefcountTableEntry(table_[index]).offset().value() >= context_->file().size()) {
      missing_blocks_.push_back(index);
    }
  }
}

uint64_t Refcounts::table_index(HostCluster cluster) const {
  return context_->geometry.refcount_table_index(cluster);
}

Error report_invalid_block(Context* context, uint64_t table_index, RefcountTableEntry entry) {
  const layout::Geometry& geometry = context->geometry;
  const uint64_t offset = entry.offset().value();
  const std::string problem =
      geometry.is_cluster_aligned(entry.offset())
          ? "past the end of any file"
          : fmt::format("not a multiple of the cluster size {}", geometry.cluster_size());
  return context->health.report_corruption(
      {.code = "qcow2-refcount-block-unaligned", .value = offset, .index = table_index},
      fmt::format("refcount table entry {} has the offset {:#x}, {}", table_index, offset,
                  problem));
}

HostOffset Refcounts::block_offset(uint64_t table_index) const {
  const RefcountTableEntry entry(table_[table_index]);
  if (entry.kind(context_->geometry) == RefcountTableKind::kInvalid) {
    throw report_invalid_block(context_, table_index, entry);
  }
  if (std::ranges::binary_search(missing_blocks_, table_index)) {
    throw Error(ErrorKind::kIo, EIO,
                ErrorData{.code = "qcow2-refcount-block-past-end",
                          .value = entry.offset().value(),
                          .index = table_index,
                          .file = context_->file().filename()},
                fmt::format("refcount table entry {} has the offset {:#x}, past the end of the "
                            "file",
                            table_index, entry.offset().value()));
  }
  return entry.offset();
}

bool Refcounts::has_block(uint64_t table_index) const {
  return table_index < table_.size() && !block_offset(table_index).is_zero();
}

uint64_t Refcounts::entries_per_slice() const {
  return (uint64_t{refcount_cache_->slice_size()} * 8) >> context_->geometry.refcount_order();
}

uint64_t Refcounts::index_in_slice(HostCluster cluster) const {
  return cluster.value() & (entries_per_slice() - 1);
}

// How many clusters from this one on, at most `max`, have their refcounts in the same slice.
uint64_t Refcounts::count_in_slice(HostCluster cluster, uint64_t max) const {
  return std::min(max, entries_per_slice() - index_in_slice(cluster));
}

Task<TableCache::Slice> Refcounts::slice_of(HostCluster cluster) {
  const uint64_t slice_in_block =
      context_->geometry.refcount_block_index(cluster) / entries_per_slice();
  const HostOffset offset =
      block_offset(table_index(cluster)) + slice_in_block * refcount_cache_->slice_size();
  TableCache::Slice cached = refcount_cache_->find(offset.value());
  if (cached) co_return cached;
  co_return co_await refcount_cache_->get(offset.value());
}

Task<uint64_t> Refcounts::get(HostCluster cluster) {
  if (!has_block(table_index(cluster))) co_return 0;
  const TableCache::Slice slice = co_await slice_of(cluster);
  co_return layout::load_refcount(slice.bytes(), index_in_slice(cluster),
                                  context_->geometry.refcount_order());
}

ClusterRange Refcounts::find_free_in(ConstBytes slice, HostCluster from, uint64_t max) const {
  const uint32_t order = context_->geometry.refcount_order();
  const uint64_t end = entries_per_slice();
  uint64_t index = index_in_slice(from);
  const uint64_t start = index;
  while (index < end && layout::load_refcount(slice, index, order) != 0) ++index;
  const HostCluster first = from + (index - start);
  if (index == end) return {first, 0};
  return {first, layout::count_free_refcounts(slice, index, std::min(max, end - index), order)};
}

Task<ClusterRange> Refcounts::find_free(HostCluster from, uint64_t max, HostCluster limit) {
  ClusterRange found{from, 0};
  while (found.count < max) {
    const HostCluster at = found.end();
    if (found.count == 0 && at >= limit) break;
    const uint64_t index = table_index(at);
    if (index >= table_.size()) {
      found.count = max;
      break;
    }
    if (!has_block(index)) {
      const HostCluster block_end = context_->geometry.refcount_block_start(index + 1);
      found.count += std::min(max - found.count, block_end - at);
      continue;
    }
    const TableCache::Slice slice = co_await slice_of(at);
    const ClusterRange here = find_free_in(slice.bytes(), at, max - found.count);
    if (here.first == at) {
      found.count += here.count;
      if (here.count > 0 && index_in_slice(found.end()) == 0) continue;
      if (here.count > 0) break;
    } else if (found.count > 0) {
      break;
    } else {
      found = here;
      if (here.count > 0 && index_in_slice(found.end()) != 0) break;
    }
  }
  co_return found;
}

Task<HostCluster> Refcounts::end_of_used() {
  const uint32_t order = context_->geometry.refcount_order();
  for (uint64_t index = table_.size(); index > 0; --index) {
    if (!has_block(index - 1)) continue;
    const HostCluster start = context_->geometry.refcount_block_start(index - 1);
    HostCluster end = context_->geometry.refcount_block_start(index);
    while (end > start) {
      const HostCluster first = end - std::min(entries_per_slice(), end - start);
      const TableCache::Slice slice = co_await slice_of(first);
      for (; end > first; end -= 1) {
        if (layout::load_refcount(slice.bytes(), index_in_slice(end - 1), order) != 0) {
          co_return end;
        }
      }
    }
  }
  co_return HostCluster(0);
}

Error Refcounts::overflow(HostCluster cluster) const {
  const uint64_t offset = context_->geometry.offset_of(cluster).value();
  const uint64_t refcount_max = context_->geometry.refcount_max();
  return Error(
      ErrorKind::kUnsupported, EINVAL,
      ErrorData{.code = "qcow2-refcount-overflow",
                .bound = refcount_max,
                .offset = offset,
                .file = context_->file().filename()},
      fmt::format("the refcount of the cluster at {:#x} cannot exceed {}", offset, refcount_max));
}

Task<void> Refcounts::add(ClusterRange range) {
  const uint32_t order = context_->geometry.refcount_order();
  const uint64_t refcount_max = context_->geometry.refcount_max();
  // All slices are pinned and checked before the first change. A range belongs to one request, so
  // there are few slices; for a table of many clusters there may be hundreds.
  std::vector<TableCache::Slice> slices;
  for (uint64_t done = 0; done < range.count;) {
    const HostCluster at = range.first + done;
    const uint64_t count = count_in_slice(at, range.count - done);
    TableCache::Slice slice = co_await slice_of(at);
    if (!slice.has_space()) co_await refcount_cache_->reserve_space(slice);
    for (uint64_t i = 0; i < count; ++i) {
      if (layout::load_refcount(slice.bytes(), index_in_slice(at) + i, order) == refcount_max) {
        throw overflow(at + i);
      }
    }
    slices.push_back(std::move(slice));
    done += count;
  }
  HostCluster at = range.first;
  for (const TableCache::Slice& slice : slices) {
    const uint64_t count = count_in_slice(at, range.end() - at);
    for (uint64_t i = index_in_slice(at), end = i + count; i < end; ++i) {
      layout::store_refcount(slice.bytes(), i, order,
                             layout::load_refcount(slice.bytes(), i, order) + 1);
    }
    slice.mark_dirty();
    at += count;
  }
}

Task<void> Refcounts::subtract(ClusterRange range, std::function<void(HostCluster)> freed) {
  const uint32_t order = context_->geometry.refcount_order();
  std::exception_ptr corruption;
  for (uint64_t done = 0; done < range.count;) {
    const HostCluster at = range.first + done;
    const uint64_t count = count_in_slice(at, range.count - done);
    done += count;
    TableCache::Slice slice;
    if (has_block(table_index(at))) {
      slice = co_await slice_of(at);
      if (!slice.has_space()) co_await refcount_cache_->reserve_space(slice);
    }
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t index = index_in_slice(at) + i;
      const uint64_t before = slice ? layout::load_refcount(slice.bytes(), index, order) : 0;
      if (before == 0) {
        const uint64_t offset = context_->geometry.offset_of(at + i).value();
        corruption = std::make_exception_ptr(context_->health.report_corruption(
            {.code = "qcow2-refcount-too-low", .value = 0, .offset = offset},
            fmt::format("the refcount of the cluster at {:#x} is 0, though it is in use", offset)));
        continue;
      }
      layout::store_refcount(slice.bytes(), index, order, before - 1);
      slice.mark_dirty();
      if (before == 1 && freed) freed(at + i);
    }
  }
  if (corruption) std::rethrow_exception(corruption);
}

Task<void> Refcounts::clear_new_block(HostOffset block) {
  const uint32_t slice_size = refcount_cache_->slice_size();
  for (uint64_t at = 0; at < context_->geometry.cluster_size(); at += slice_size) {
    co_await refcount_cache_->get_new(block.value() + at);
  }
}

Task<void> Refcounts::set_in_new_block(HostOffset block, HostCluster cluster) {
  const uint64_t slice_in_block =
      context_->geometry.refcount_block_index(cluster) / entries_per_slice();
  const uint64_t offset = block.value() + slice_in_block * refcount_cache_->slice_size();
  const TableCache::Slice slice = co_await refcount_cache_->get(offset);
  layout::store_refcount(slice.bytes(), index_in_slice(cluster),
                         context_->geometry.refcount_order(), 1);
  slice.mark_dirty();
}

// The entry is remembered until it is written successfully: after a failure it may be on disk.
Task<void> Refcounts::write_table_entry(NewBlock block) {
  uint8_t bytes[8];
  store_big_endian<uint64_t>(bytes, entry_of(block).word());
  const WriteBuffers from((Bytes(bytes)));
  const uint64_t offset =
      context_->header().refcount_table_offset.value() + block.table_index * sizeof bytes;
  Health::Operation operation = Health::Operation::kFlush;
  std::exception_ptr error;
  try {
    co_await context_->file().flush();
    operation = Health::Operation::kWrite;
    context_->health.check_not_failed();
    overlap_->check(HostOffset(offset), sizeof bytes, MetadataKind::kRefcountTable);
    co_await context_->events().raise(DebugEvent::kRefblockAllocHookup);
    unfinished_ = block;
    co_await context_->file().write(offset, from);
  } catch (const Error& failure) {
    context_->health.note_failure(failure, operation);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
  unfinished_.reset();
}

RefcountTableEntry Refcounts::entry_of(const NewBlock& block) const {
  return RefcountTableEntry::block(context_->geometry.offset_of(block.place));
}

Task<void> Refcounts::add_block(uint64_t table_index, HostCluster place) {
  BYRE_ASSERT(!unfinished_);
  co_await context_->events().raise(DebugEvent::kRefblockAlloc);
  const NewBlock block{table_index, place, false};
  co_await put_into_table(block);
}

Task<void> Refcounts::finish_block() {
  if (!unfinished_) co_return;
  const NewBlock block = *unfinished_;
  co_await put_into_table(block);
}

Task<void> Refcounts::put_into_table(NewBlock block) {
  const HostOffset offset = context_->geometry.offset_of(block.place);
  const bool counts_itself = table_index(block.place) == block.table_index;
  const ClusterRange own{block.place, 1};
  std::exception_ptr error;
  try {
    // Reserve the space before the block is in the cache, where a flush for another request would
    // write it.
    co_await context_->file().reserve_space(offset.value(), context_->geometry.cluster_size());
    co_await clear_new_block(offset);
    if (counts_itself) {
      co_await set_in_new_block(offset, block.place);
    } else if (!block.is_counted) {
      co_await add(own);
      block.is_counted = true;
    }
    co_await context_->events().raise(DebugEvent::kRefblockAllocWrite);
    co_await refcount_cache_->write_back();
    co_await write_table_entry(block);
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) {
    table_[block.table_index] = entry_of(block).word();
    overlap_->add_refcount_block(offset);
    co_return;
  }
  // It is not a block of the table, so nothing may be written there as one. Its cluster is free
  // again, unless the entry on disk may name it.
  Task<void> dropping = drop_new_block(block);
  co_await clean_up_and_rethrow(std::move(dropping), error);
}

Task<void> Refcounts::drop_new_block(NewBlock block) {
  const HostOffset offset = context_->geometry.offset_of(block.place);
  const ClusterRange own{block.place, 1};
  co_await refcount_cache_->invalidate(offset.value(), context_->geometry.cluster_size());
  if (block.is_counted && !unfinished_) co_await subtract(own, nullptr);
}

}  // namespace byre::qcow2
