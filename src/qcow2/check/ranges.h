// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace byre::qcow2 {

// Ranges that overlap one another, each of which counts once, told as ranges that do not and how
// often each counts. Memory follows the number of different ends, not of the ranges.
class OverlappingRanges {
 public:
  struct Range {
    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t times = 0;
    bool operator==(const Range&) const = default;
  };

  void add(uint64_t start, uint64_t end);
  // In the order of their places, without those that count no times.
  std::vector<Range> ranges() const;

 private:
  std::map<uint64_t, int64_t> steps_;  // where the number of ranges changes, and by how much
};

// A set of numbers that is mostly long ranges.
class RangeSet {
 public:
  void add(uint64_t start, uint64_t end);
  // The first number from `place` on that is not in the set.
  uint64_t end_of(uint64_t place) const;
  bool contains(uint64_t place) const { return end_of(place) != place; }
  // Where the last range that begins before `end` ends; 0: there is none.
  uint64_t last_end_before(uint64_t end) const;
  bool intersects(uint64_t start, uint64_t end) const { return last_end_before(end) > start; }
  size_t range_count() const { return ends_.size(); }

 private:
  std::map<uint64_t, uint64_t> ends_;  // by start; they neither overlap nor touch
};

}  // namespace byre::qcow2
