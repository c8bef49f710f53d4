// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/refcount_table_growth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>

#include "async/clean_up.h"
#include "base/checked.h"
#include "block/buffer.h"
#include "qcow2/layout/limits.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

using layout::RefcountTableEntry;

ClusterRange RefcountTableGrowth::plan(HostCluster start, uint64_t table_index_min) {
  constexpr uint64_t kEntriesMax = layout::limits::kRefcountTableEntriesMax;
  const uint64_t per_cluster = context_->geometry.cluster_size() / 8;
  const uint64_t old_entries = refcounts_->table_entries();
  first_new_index_ = refcounts_->table_index(start);
  BYRE_ASSERT(first_new_index_ >= old_entries);
  uint64_t blocks = 0;
  uint64_t entries =
      std::max(table_index_min + 1, std::min(old_entries + old_entries / 2, kEntriesMax));
  for (;;) {
    table_clusters_ = div_ceil(entries, per_cluster);
    place_ = {start, table_clusters_ + blocks};
    const uint64_t last = refcounts_->table_index(place_.end() - 1);
    if (last + 1 <= entries && last + 1 - first_new_index_ <= blocks) break;
    entries = std::max(entries, last + 1);
    blocks = last + 1 - first_new_index_;
  }
  if (entries > kEntriesMax) {
    throw Error(ErrorKind::kNoSpace, EFBIG,
                ErrorData{.code = "qcow2-refcount-table-full",
                          .value = entries,
                          .bound = kEntriesMax,
                          .file = context_->file().filename()},
                fmt::format("the refcount table would need {} entries; at most {} are allowed",
                            entries, kEntriesMax));
  }
  table_ = refcounts_->table();
  table_.resize(table_clusters_ * per_cluster);
  for (uint64_t i = 0; i < blocks; ++i) {
    const HostOffset block = context_->geometry.offset_of(start + table_clusters_ + i);
    table_[first_new_index_ + i] = RefcountTableEntry::block(block).word();
  }
  return place_;
}

Task<void> RefcountTableGrowth::make_blocks() {
  const HostOffset first = context_->geometry.offset_of(place_.first + table_clusters_);
  const uint64_t blocks = place_.count - table_clusters_;
  // Reserve the space before the blocks are in the cache, where a flush for another request would
  // write them.
  co_await context_->file().reserve_space(first.value(),
                                          blocks * context_->geometry.cluster_size());
  for (uint64_t i = 0; i < blocks; ++i) {
    co_await refcounts_->clear_new_block(first + i * context_->geometry.cluster_size());
  }
  for (uint64_t i = 0; i < place_.count; ++i) {
    const HostCluster cluster = place_.first + i;
    const RefcountTableEntry entry(table_[refcounts_->table_index(cluster)]);
    const HostOffset block = entry.offset();
    co_await refcounts_->set_in_new_block(block, cluster);
  }
  co_await context_->events().raise(DebugEvent::kRefblockAllocWriteBlocks);
  co_await refcount_cache_->write_back();
}

Task<void> RefcountTableGrowth::write_table() {
  Buffer bytes(table_.size() * 8);
  for (size_t i = 0; i < table_.size(); ++i) {
    store_big_endian<uint64_t>(bytes.data() + i * 8, table_[i]);
  }
  const WriteBuffers from(bytes.bytes());
  co_await context_->events().raise(DebugEvent::kRefblockAllocWriteTable);
  co_await context_->file().write(context_->geometry.offset_of(place_.first).value(), from);
  // set_refcount_table() flushes before it names the table.
}

Task<void> RefcountTableGrowth::switch_to_table() {
  const HostOffset offset = context_->geometry.offset_of(place_.first);
  co_await context_->events().raise(DebugEvent::kRefblockAllocSwitchTable);
  co_await context_->header_store.set_refcount_table(offset,
                                                     static_cast<uint32_t>(table_clusters_));
  // The header names it: nothing up to replace_table() may allocate memory.
  refcounts_->replace_table(std::move(table_));
  for (uint64_t i = table_clusters_; i < place_.count; ++i) {
    overlap_->add_refcount_block(context_->geometry.offset_of(place_.first + i));
  }
}

Task<ClusterRange> RefcountTableGrowth::run() {
  const layout::Header& header = context_->header();
  const ClusterRange old{context_->geometry.cluster_of(header.refcount_table_offset),
                         header.refcount_table_clusters};
  std::exception_ptr error;
  try {
    co_await context_->events().raise(DebugEvent::kReftableGrow);
    co_await make_blocks();
    co_await write_table();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    // The blocks are not in any table: nothing of them may be written to those clusters.
    const uint64_t blocks = place_.count - table_clusters_;
    const HostOffset first = context_->geometry.offset_of(place_.first + table_clusters_);
    Task<void> dropping =
        refcount_cache_->invalidate(first.value(), blocks * context_->geometry.cluster_size());
    co_await clean_up_and_rethrow(std::move(dropping), error);
  }
  co_await switch_to_table();
  co_return old;
}

}  // namespace byre::qcow2
