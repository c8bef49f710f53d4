// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "jobs/progress.h"

namespace byre::jobs {

// Reports pieces that end in any order to a Progress as if they ended in the order of their tickets
// 0, 1, 2, ...: what is reported never includes a piece after one that is not done.
class OrderedProgress {
 public:
  // `progress` may be nullptr.
  OrderedProgress(Progress* progress, uint64_t total) : progress_(progress), total_(total) {}

  void done(uint64_t ticket, uint64_t amount);
  void set_total(uint64_t total) { total_ = total; }
  void finish();

 private:
  Progress* const progress_;
  uint64_t total_;
  uint64_t sum_ = 0;
  uint64_t next_ticket_ = 0;
  std::map<uint64_t, uint64_t> early_;  // sizes of pieces that ended before their predecessors
};

}  // namespace byre::jobs
