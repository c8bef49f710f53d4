// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/allocator.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "async/clean_up.h"
#include "base/units.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/space/refcount_table_growth.h"

namespace byre::qcow2 {

namespace {

// A hole of this size is worth a write of its own even if more was requested.
constexpr uint64_t kUsefulBytes = kMiB;

}  // namespace

// Makes sure that the range has refcount blocks, and adds its references.
Task<ClusterRange> Allocator::claim(ClusterRange range) {
  overlap_->check_allocation(context_->geometry.offset_of(range.first),
                             range.count << context_->geometry.cluster_bits());
  co_await ensure_blocks(range);
  co_await refcounts_->add(range);
  for (HostCluster* const position : {&first_free_, &cursor_}) {
    if (*position == range.first) *position = range.end();
  }
  if (end_) end_ = std::max(*end_, range.end());
  note_written(range);
  co_return range;
}

void Allocator::note_written(ClusterRange range) {
  if (blank_) blank_ = std::max(*blank_, range.end());
}

// REQUIRES: the range is not claimed yet.
bool Allocator::is_blank(ClusterRange range) {
  if (!context_->file().limits().grows) return false;
  if (!blank_) blank_ = HostCluster(context_->geometry.clusters_for(context_->file().size()));
  return range.first >= *blank_;
}

Task<Allocator::Allocation> Allocator::allocate(uint64_t count) {
  co_await context_->events().raise(DebugEvent::kClusterAlloc);
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await refcounts_->finish_block();
  const uint64_t useful = std::max<uint64_t>(kUsefulBytes >> context_->geometry.cluster_bits(), 1);
  Allocation place;
  place.range = co_await find(count, fills_holes_ ? 1 : std::min(count, useful));
  place.is_blank = is_blank(place.range);
  co_await claim(place.range);
  co_return place;
}

Task<ClusterRange> Allocator::allocate_all(uint64_t count) {
  co_await context_->events().raise(DebugEvent::kClusterAlloc);
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await refcounts_->finish_block();
  const ClusterRange range = co_await find(count, count);
  co_return co_await claim(range);
}

Task<ClusterRange> Allocator::allocate_at_end(uint64_t count) {
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await refcounts_->finish_block();
  const ClusterRange range = co_await find_at_end(count, count);
  if (range.count == 0) throw no_space();
  co_return co_await claim(range);
}

// The next cluster for compressed data: the one at `after` if it is free, else any. `after` 0:
// any.
Task<ClusterRange> Allocator::next_to_pack(HostCluster after) {
  if (!after.is_zero()) {
    HostCluster position = after;
    const ClusterRange found = co_await find_scanning(&position, 1, 1, after + 1);
    if (found.count > 0 && found.first == after) co_return co_await claim(found);
  }
  const ClusterRange found = co_await find(1, 1);
  co_return co_await claim(found);
}

Task<void> Allocator::add_references(ClusterRange range) {
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await refcounts_->finish_block();
  co_await refcounts_->add(range);
}

// Adds a reference to the cluster for compressed bytes; returns false if it has as many as it may.
Task<bool> Allocator::share(HostCluster cluster) {
  const uint64_t refcount = co_await refcounts_->get(cluster);
  if (refcount >= context_->geometry.refcount_max() / states_max_) co_return false;
  const ClusterRange range{cluster, 1};
  co_await refcounts_->add(range);
  co_return true;
}

// The same; if it fails, `next`, which was claimed for the same bytes, is free again.
Task<bool> Allocator::share_with(HostCluster cluster, ClusterRange next) {
  std::exception_ptr error;
  try {
    co_return co_await share(cluster);
  } catch (...) {
    error = std::current_exception();
  }
  Task<void> dropping = drop_references(next);
  co_await clean_up_and_rethrow(std::move(dropping), error);
  co_return false;
}

Task<HostOffset> Allocator::allocate_bytes(uint64_t size) {
  co_await context_->events().raise(DebugEvent::kClusterAllocBytes);
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await refcounts_->finish_block();
  const layout::Geometry& geometry = context_->geometry;
  const HostOffset packed_end = packed_end_;
  HostOffset place;
  if (!packed_end.is_zero()) {
    const HostCluster cluster = geometry.cluster_of(packed_end);
    const uint64_t room = geometry.cluster_size() - geometry.offset_in_cluster(packed_end);
    ClusterRange next;
    bool goes_on = size <= room;
    if (!goes_on) {
      // Continue across the end of this cluster, if the next one is free.
      next = co_await next_to_pack(cluster + 1);
      place = geometry.offset_of(next.first);
      goes_on = next.first == cluster + 1;
    }
    if (goes_on) {
      const bool is_shared = co_await share_with(cluster, next);
      if (is_shared) place = packed_end;
    }
  }
  if (place.is_zero()) {
    const ClusterRange fresh = co_await next_to_pack(HostCluster());
    place = geometry.offset_of(fresh.first);
  }
  const HostOffset end = place + size;
  packed_end_ = geometry.is_cluster_aligned(end) ? HostOffset() : end;
  co_return place;
}

// See RefcountTableGrowth::plan().
Task<void> Allocator::grow_refcount_table(HostCluster start, uint64_t table_index_min) {
  RefcountTableGrowth growth(context_, refcount_cache_, refcounts_, overlap_);
  const ClusterRange place = growth.plan(start, table_index_min);
  if (place.end() > space_end()) throw no_space();
  note_written(place);
  const ClusterRange old = co_await growth.run();
  co_await drop_references(old);
}

Task<void> Allocator::ensure_blocks(ClusterRange range) {
  const uint64_t first = refcounts_->table_index(range.first);
  const uint64_t last = refcounts_->table_index(range.end() - 1);
  if (last >= refcounts_->table_entries()) {
    co_await grow_refcount_table(range.end(), last);
  }
  for (uint64_t index = first; index <= last; ++index) {
    if (!refcounts_->has_block(index)) co_await ensure_block(index, range);
  }
}

// A block is placed after the range that needs it, as in QEMU, or before it if nothing is free
// there.
Task<ClusterRange> Allocator::find_for_block(ClusterRange range) {
  HostCluster position = range.end();
  ClusterRange found = co_await find_scanning(&position, 1, 1, HostCluster(UINT64_MAX));
  if (found.count > 0) co_return found;
  position = first_free_;
  found = co_await find_scanning(&position, 1, 1, range.first);
  if (found.count == 0 || found.first >= range.first) throw no_space();
  co_return found;
}

// Adds a block for clusters of the range. If the refcount of its own cluster is in another block
// that is missing as well, that one is made first and counts itself.
Task<void> Allocator::ensure_block(uint64_t table_index, ClusterRange range) {
  while (!refcounts_->has_block(table_index)) {
    const ClusterRange place = co_await find_for_block(range);
    const uint64_t counted_by = refcounts_->table_index(place.first);
    if (counted_by >= refcounts_->table_entries()) {
      co_await grow_refcount_table(place.first, counted_by);
      continue;
    }
    note_written(place);
    const bool other_first = counted_by != table_index && !refcounts_->has_block(counted_by);
    co_await refcounts_->add_block(other_first ? counted_by : table_index, place.first);
  }
}

void Allocator::became_free(HostCluster cluster) {
  first_free_ = std::min(first_free_, cluster);
  cursor_ = std::min(cursor_, cluster);
  note_written({cluster, 1});
  // Compressed data must not continue in a cluster that may now be used for something else.
  if (!packed_end_.is_zero() && context_->geometry.cluster_of(packed_end_) == cluster) {
    packed_end_ = HostOffset();
  }
}

Task<void> Allocator::drop_references(ClusterRange range) {
  co_await refcounts_->subtract(range, [this](HostCluster cluster) { became_free(cluster); });
}

bool Allocator::passes_discard(FreeCause cause) const {
  const PassDiscard& pass = context_->options.pass_discard;
  switch (cause) {
    case FreeCause::kDiscard:
      return pass.request.value_or(!context_->options.policy.ignores_discards());
    case FreeCause::kSnapshot:
      return pass.snapshot.value_or(true);
    case FreeCause::kOther:
      break;
  }
  return pass.other.value_or(false);
}

Task<void> Allocator::discard_in_file(std::vector<ClusterRange> ranges) {
  for (const ClusterRange& range : ranges) {
    co_await discard_inside(&context_->file(), context_->geometry.offset_of(range.first).value(),
                            context_->geometry.offset_of(range.end()).value());
  }
}

// Decrements all of them, then throws the first error.
Task<void> Allocator::drop_all_references(DeferredFrees frees) {
  std::vector<ClusterRange> holes;
  std::exception_ptr error;
  for (const Freed& freed : frees) {
    const bool is_passed = passes_discard(freed.cause);
    const auto became_free_now = [&](HostCluster cluster) {
      became_free(cluster);
      if (!is_passed) return;
      if (!holes.empty() && holes.back().end() == cluster) {
        ++holes.back().count;
      } else {
        holes.push_back({cluster, 1});
      }
    };
    try {
      co_await refcounts_->subtract(freed.range, became_free_now);
    } catch (...) {
      if (!error) error = std::current_exception();
    }
  }
  co_await discard_in_file(std::move(holes));
  if (error) std::rethrow_exception(error);
}

Task<void> Allocator::truncate_to_used() {
  const Mutex::Guard guard = co_await mutex_.lock();
  BlockDevice& file = context_->file();
  if (!file.limits().grows) co_return;
  co_await refcounts_->finish_block();
  end_ = co_await refcounts_->end_of_used();
  const uint64_t end = context_->geometry.offset_of(*end_).value();
  if (end < file.size()) co_await file.resize(end, Preallocation::kOff);
}

Task<void> Allocator::free(ClusterRange range) {
  co_await context_->events().raise(DebugEvent::kClusterFree);
  const Mutex::Guard guard = co_await mutex_.lock();
  DeferredFrees frees{{range, FreeCause::kOther}};
  co_await drop_all_references(std::move(frees));
}

void Allocator::reserve_deferred(uint64_t count) {
  const size_t wanted = deferred_.size() + count;
  // Doubles the capacity, or many small requests would copy the list each time.
  if (deferred_.capacity() < wanted) deferred_.reserve(std::max(wanted, deferred_.capacity() * 2));
}

bool Allocator::fill_holes() {
  return !std::exchange(fills_holes_, true);
}

Task<Mutex::Guard> Allocator::lock_for_update() {
  Mutex::Guard guard = co_await mutex_.lock();
  co_await refcounts_->finish_block();
  co_return guard;
}

Task<void> Allocator::finish_update(std::vector<ClusterRange> freed, FreeCause cause) {
  first_free_ = HostCluster();
  cursor_ = HostCluster();
  end_.reset();
  packed_end_ = HostOffset();
  for (const ClusterRange& range : freed) note_written(range);
  if (passes_discard(cause)) co_await discard_in_file(std::move(freed));
}

void Allocator::check() const {
  uint64_t clusters = 0;
  for (const Freed& freed : deferred_) {
    BYRE_ASSERT(freed.range.count > 0);
    clusters += freed.range.count;
  }
  BYRE_ASSERT(clusters == deferred_clusters_);
  const layout::Geometry& geometry = context_->geometry;
  // Compressed data that ends at the end of a cluster is not continued.
  BYRE_ASSERT(packed_end_.is_zero() || !geometry.is_cluster_aligned(packed_end_));
  if (end_ && !packed_end_.is_zero()) BYRE_ASSERT(geometry.cluster_of(packed_end_) < *end_);
}

void Allocator::defer_free(ClusterRange range, FreeCause cause) {
  if (range.count == 0) return;
  if (!deferred_.empty() && deferred_.back().range.end() == range.first &&
      deferred_.back().cause == cause) {
    deferred_.back().range.count += range.count;
  } else {
    deferred_.push_back({range, cause});
  }
  deferred_clusters_ += range.count;
}

Allocator::DeferredFrees Allocator::take_deferred() {
  deferred_clusters_ = 0;
  return std::exchange(deferred_, {});
}

void Allocator::requeue(DeferredFrees frees) noexcept {
  try {
    for (const Freed& freed : frees) defer_free(freed.range, freed.cause);
  } catch (const std::bad_alloc&) {
    // They leak.
  }
}

Task<void> Allocator::release(DeferredFrees frees) {
  if (frees.empty()) co_return;
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await drop_all_references(std::move(frees));
}

}  // namespace byre::qcow2
