// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/ranges.h"

#include <algorithm>
#include <iterator>

namespace byre::qcow2 {

void OverlappingRanges::add(uint64_t start, uint64_t end) {
  if (start >= end) return;
  ++steps_[start];
  --steps_[end];
}

std::vector<OverlappingRanges::Range> OverlappingRanges::ranges() const {
  std::vector<Range> result;
  int64_t times = 0;
  for (auto step = steps_.begin(); step != steps_.end(); ++step) {
    times += step->second;
    const auto next = std::next(step);
    if (times == 0) continue;  // as after the last step
    const uint64_t count = static_cast<uint64_t>(times);
    if (!result.empty() && result.back().end == step->first && result.back().times == count) {
      result.back().end = next->first;
    } else {
      result.push_back({step->first, next->first, count});
    }
  }
  return result;
}

void RangeSet::add(uint64_t start, uint64_t end) {
  if (start >= end) return;
  auto place = ends_.upper_bound(start);
  if (place != ends_.begin() && std::prev(place)->second >= start) {
    --place;
    start = place->first;
  }
  while (place != ends_.end() && place->first <= end) {
    end = std::max(end, place->second);
    place = ends_.erase(place);
  }
  ends_[start] = end;
}

uint64_t RangeSet::end_of(uint64_t place) const {
  const auto next = ends_.upper_bound(place);
  if (next == ends_.begin()) return place;
  return std::max(place, std::prev(next)->second);
}

uint64_t RangeSet::last_end_before(uint64_t end) const {
  const auto next = ends_.lower_bound(end);
  return next == ends_.begin() ? 0 : std::prev(next)->second;
}

}  // namespace byre::qcow2
