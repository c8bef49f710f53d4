// SPDX-License-Identifier: Apache-2.0
#include "qcow2/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>

#include "base/units.h"
#include "qcow2/image_state.h"
#include "qcow2/refcount_table_growth.h"

namespace byre::qcow2 {

namespace {

// A hole of this size is worth a write of its own when more was asked for.
constexpr uint64_t kUsefulBytes = kMiB;

}  // namespace

void Allocator::check_end(ClusterRange range) const {
  const uint64_t end_max = layout::limits::kHostOffsetEnd >> state_->geometry.cluster_bits();
  if (range.end().value() > end_max) {
    throw Error(
        ErrorKind::kNoSpace, EFBIG, errno_text(EFBIG),
        fmt::format("{}: an L2 entry cannot refer to host offset {:#x}", state_->file->filename(),
                    state_->geometry.offset_of(range.first).value()));
  }
  if (state_->file->limits().grows) return;
  if (state_->geometry.offset_of(range.end()).value() > state_->file->size()) {
    throw Error(ErrorKind::kNoSpace, ENOSPC, errno_text(ENOSPC),
                fmt::format("{} has {} bytes and cannot grow", state_->file->filename(),
                            state_->file->size()));
  }
}

// The first `count` free clusters in a row, or count_min to count of them.
Task<ClusterRange> Allocator::find(uint64_t count, uint64_t count_min) {
  const bool from_start = count == 1 || cursor_ < first_free_;
  HostCluster at = from_start ? first_free_ : cursor_;
  for (;;) {
    const ClusterRange found = co_await refcounts_->find_free(at, count);
    if (at == first_free_) first_free_ = found.first;
    if (found.count >= count_min) {
      check_end(found);
      co_return found;
    }
    at = found.end();
  }
}

// Blocks for the range, and its references.
Task<ClusterRange> Allocator::claim(ClusterRange range) {
  state_->write_state->check_no_metadata(state_->geometry.offset_of(range.first),
                                         range.count << state_->geometry.cluster_bits());
  co_await ensure_blocks(range);
  co_await refcounts_->add(range);
  if (first_free_ == range.first) first_free_ = range.end();
  cursor_ = std::max(cursor_, range.end());
  co_return range;
}

Task<ClusterRange> Allocator::allocate(uint64_t count) {
  const Mutex::Guard guard = co_await mutex_.lock();
  const uint64_t useful = std::max<uint64_t>(kUsefulBytes >> state_->geometry.cluster_bits(), 1);
  const ClusterRange range = co_await find(count, std::min(count, useful));
  co_return co_await claim(range);
}

Task<ClusterRange> Allocator::allocate_all(uint64_t count) {
  const Mutex::Guard guard = co_await mutex_.lock();
  const ClusterRange range = co_await find(count, count);
  co_return co_await claim(range);
}

// A cluster to go on packing in: the one at `behind` if it is free, else any.
Task<ClusterRange> Allocator::next_to_pack(HostCluster behind) {
  if (!behind.is_zero()) {
    const ClusterRange found = co_await refcounts_->find_free(behind, 1);
    if (found.first == behind) {
      check_end(found);
      co_await claim(found);
      co_return found;
    }
  }
  const ClusterRange found = co_await find(1, 1);
  co_return co_await claim(found);
}

// Whether the cluster could take one more reference.
Task<bool> Allocator::share(HostCluster cluster) {
  const uint64_t refcount = co_await refcounts_->get(cluster);
  if (refcount == state_->geometry.refcount_max()) co_return false;
  const ClusterRange range{cluster, 1};
  co_await refcounts_->add(range);
  co_return true;
}

Task<HostOffset> Allocator::allocate_bytes(uint64_t size) {
  const Mutex::Guard guard = co_await mutex_.lock();
  const layout::Geometry& geometry = state_->geometry;
  const HostOffset packed_end = packed_end_;
  HostOffset place;
  if (!packed_end.is_zero()) {
    const HostCluster cluster = geometry.cluster_of(packed_end);
    const uint64_t room = geometry.cluster_size() - geometry.offset_in_cluster(packed_end);
    bool goes_on = size <= room;
    if (!goes_on) {
      // Over the end of this cluster into the next, if that can be had.
      const ClusterRange next = co_await next_to_pack(cluster + 1);
      place = geometry.offset_of(next.first);
      goes_on = next.first == cluster + 1;
    }
    if (goes_on) {
      const bool is_shared = co_await share(cluster);
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

Task<void> Allocator::ensure_blocks(ClusterRange range) {
  const uint64_t first = refcounts_->table_index(range.first);
  const uint64_t last = refcounts_->table_index(range.end() - 1);
  if (last >= refcounts_->table_entries()) {
    RefcountTableGrowth growth(state_, this, refcounts_);
    co_await growth.run(range.end(), last);
  }
  for (uint64_t index = first; index <= last; ++index) {
    if (!refcounts_->has_block(index)) co_await ensure_block(index, range.end());
  }
}

// A block stands behind the range that needed it, as in QEMU; where that place is counted by
// another block that is missing, too, that one comes first and counts itself.
Task<void> Allocator::ensure_block(uint64_t table_index, HostCluster behind) {
  while (!refcounts_->has_block(table_index)) {
    const ClusterRange place = co_await refcounts_->find_free(behind, 1);
    const uint64_t counted_by = refcounts_->table_index(place.first);
    check_end(place);
    if (counted_by >= refcounts_->table_entries()) {
      RefcountTableGrowth growth(state_, this, refcounts_);
      co_await growth.run(place.first, counted_by);
      continue;
    }
    const bool other_first = counted_by != table_index && !refcounts_->has_block(counted_by);
    co_await refcounts_->add_block(other_first ? counted_by : table_index, place.first);
  }
}

void Allocator::became_free(HostCluster cluster) {
  first_free_ = std::min(first_free_, cluster);
  cursor_ = std::min(cursor_, cluster);
  // What is packed next must not go on in a cluster that may now be somebody else's.
  if (!packed_end_.is_zero() && state_->geometry.cluster_of(packed_end_) == cluster) {
    packed_end_ = HostOffset();
  }
}

Task<void> Allocator::take_back(ClusterRange range) {
  co_await refcounts_->subtract(range, [this](HostCluster cluster) { became_free(cluster); });
}

Task<void> Allocator::free_now(ClusterRange range) {
  const Mutex::Guard guard = co_await mutex_.lock();
  co_await take_back(range);
}

void Allocator::free_later(ClusterRange range) {
  if (range.count == 0) return;
  waiting_clusters_ += range.count;
  if (!waiting_.empty() && waiting_.back().end() == range.first) {
    waiting_.back().count += range.count;
    return;
  }
  waiting_.push_back(range);
}

Allocator::Frees Allocator::take_waiting() {
  waiting_clusters_ = 0;
  return std::exchange(waiting_, {});
}

void Allocator::put_back(Frees frees) {
  for (const ClusterRange& range : frees) free_later(range);
}

Task<void> Allocator::count_down(Frees frees) {
  if (frees.empty()) co_return;
  const Mutex::Guard guard = co_await mutex_.lock();
  std::exception_ptr error;
  for (const ClusterRange& range : frees) {
    try {
      co_await take_back(range);
    } catch (...) {
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace byre::qcow2
