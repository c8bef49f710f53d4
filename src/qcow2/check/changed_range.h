// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace byre::qcow2 {

// The smallest range that covers all changes of a table in memory: the bytes that must be written.
class ChangedRange {
 public:
  void add(uint64_t begin, uint64_t end) {
    begin_ = is_empty() ? begin : std::min(begin_, begin);
    end_ = std::max(end_, end);
  }
  bool is_empty() const { return end_ == 0; }
  uint64_t begin() const { return begin_; }
  uint64_t size() const { return end_ - begin_; }

 private:
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
};

}  // namespace byre::qcow2
