// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace byre::qcow2 {

// Takes ranges that may overlap, each counting once, and returns disjoint ranges with how often
// each counts. Memory is proportional to the number of distinct ends, not of ranges.
class OverlappingRanges {
 public:
  struct Range {
    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t times = 0;
    bool operator==(const Range&) const = default;
  };

  void add(uint64_t start, uint64_t end);
  // In ascending order, without ranges whose count is 0.
  std::vector<Range> ranges() const;

 private:
  std::map<uint64_t, int64_t> steps_;  // where the number of ranges changes, and by how much
};

// A set of numbers that consists mostly of long ranges.
class RangeSet {
 public:
  void add(uint64_t start, uint64_t end);
  // The first number not below `place` that is not in the set.
  uint64_t end_of(uint64_t place) const;
  bool contains(uint64_t place) const { return end_of(place) != place; }
  // The end of the last range that begins before `end`; 0: there is none.
  uint64_t last_end_before(uint64_t end) const;
  bool intersects(uint64_t start, uint64_t end) const { return last_end_before(end) > start; }
  size_t range_count() const { return ends_.size(); }

 private:
  std::map<uint64_t, uint64_t> ends_;  // by start; they neither overlap nor touch
};

}  // namespace byre::qcow2
