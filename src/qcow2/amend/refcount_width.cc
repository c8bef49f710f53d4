// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/refcount_width.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>
#include <utility>

#include "async/clean_up.h"
#include "qcow2/amend/refcount_rebuild.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/tables/tables.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

std::vector<ClusterRange> RefcountWidth::clusters_of_structure() const {
  const layout::Geometry& geometry = context_->geometry;
  const layout::Header& header = context_->header();
  std::vector<ClusterRange> ranges{
      {geometry.cluster_of(header.refcount_table_offset), header.refcount_table_clusters}};
  for (uint64_t index = 0; index < refcounts_->table_entries(); ++index) {
    if (!refcounts_->has_block(index)) continue;
    ranges.push_back({geometry.cluster_of(refcounts_->block_offset(index)), 1});
  }
  std::ranges::sort(ranges, {}, &ClusterRange::first);
  return ranges;
}

Task<void> RefcountWidth::check_fits(uint32_t order) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  if (context_->health.is_prepared()) {
    co_await flusher_->settle();
  } else {
    co_await refcounts_->load();
  }
  const Mutex::Guard lock = co_await allocator_->lock_for_update();
  RefcountRebuild rebuild(context_, refcounts_, allocator_, order, nullptr);
  co_await rebuild.check_fits();
}

Task<void> RefcountWidth::change(uint32_t order, AmendProgress on_progress) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  if (order == context_->header().refcount_order) co_return;
  co_await flusher_->settle();
  const std::vector<ClusterRange> old = clusters_of_structure();
  allocator_->reserve_deferred(old.size());
  RefcountRebuild rebuild(context_, refcounts_, allocator_, order, std::move(on_progress));
  std::exception_ptr error;
  bool may_be_replaced = false;
  try {
    co_await replace(&rebuild, order, &may_be_replaced);
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    if (may_be_replaced) std::rethrow_exception(error);
    // What was written past the clusters in use takes space, which nothing would give back.
    Task<void> cutting = allocator_->truncate_to_used();
    co_await clean_up_and_rethrow(std::move(cutting), error);
  }
  for (const ClusterRange& range : old) allocator_->defer_free(range);
  co_await flusher_->settle();
}

// Sets *may_be_replaced when the header in the file may name the new structure.
Task<void> RefcountWidth::replace(RefcountRebuild* rebuild, uint32_t order, bool* may_be_replaced) {
  const Mutex::Guard lock = co_await allocator_->lock_for_update();
  co_await rebuild->plan();
  co_await rebuild->write();
  const ClusterRange table = rebuild->table_place();
  *may_be_replaced = true;
  co_await context_->header_store.set_refcounts(context_->geometry.offset_of(table.first),
                                                static_cast<uint32_t>(table.count), order);
  co_await adopt(rebuild->take_table());
}

// What the image has in memory follows the header.
Task<void> RefcountWidth::adopt(std::vector<uint64_t> table) {
  std::exception_ptr error;
  try {
    context_->geometry = layout::Geometry(context_->header());
    refcounts_->replace_table(std::move(table));
    co_await tables_->refcount_cache.invalidate_all();
    co_await overlap_->load(*refcounts_);
    const std::vector<ClusterRange> freed_later;
    co_await allocator_->finish_update(freed_later, FreeCause::kOther);
  } catch (const Error& failure) {
    context_->health.note_failure(failure, Health::Operation::kFlush);
    error = std::current_exception();
  } catch (const std::bad_alloc&) {
    context_->health.note_failure(no_memory_, Health::Operation::kFlush);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace byre::qcow2
