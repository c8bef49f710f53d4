// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/unclaimed_clusters.h"

#include <algorithm>

namespace byre::qcow2 {

// A range of taken_ that has a cluster in common with `range`; nullptr if there is none.
const ClusterRange* UnclaimedClusters::find_taken(ClusterRange range) const {
  const auto taken = std::ranges::upper_bound(taken_, range.first, {}, &ClusterRange::end);
  return taken == taken_.end() || taken->first >= range.end() ? nullptr : &*taken;
}

void UnclaimedClusters::add_taken(ClusterRange range) {
  auto next = std::ranges::upper_bound(taken_, range.first, {}, &ClusterRange::first);
  if (next != taken_.end() && next->first == range.end()) {
    next->first = range.first;
    next->count += range.count;
  } else {
    next = taken_.insert(next, range);
  }
  if (next == taken_.begin()) return;
  const auto previous = next - 1;
  if (previous->end() != next->first) return;
  previous->count += next->count;
  taken_.erase(next);
}

// An empty range if there is none at or after next_.
Task<ClusterRange> UnclaimedClusters::find(uint64_t count) const {
  for (layout::HostCluster position = next_;;) {
    const ClusterRange range = co_await allocator_->find_free_from(position, count);
    if (range.count == 0) co_return range;
    const ClusterRange* const taken = find_taken(range);
    if (taken == nullptr) co_return range;
    position = taken->end();
  }
}

Task<ClusterRange> UnclaimedClusters::take(uint64_t count) {
  ClusterRange range = co_await find(count);
  if (range.count == 0) {
    next_ = layout::HostCluster();  // there may be holes that earlier searches skipped
    range = co_await find(count);
  }
  if (range.count == 0) throw allocator_->no_space();
  add_taken(range);
  if (count == 1) next_ = range.end();
  co_return range;
}

}  // namespace byre::qcow2
