// SPDX-License-Identifier: Apache-2.0
#include "jobs/ordered_progress.h"

#include <algorithm>

namespace byre::jobs {

void OrderedProgress::done(uint64_t ticket, uint64_t amount) {
  if (progress_ == nullptr) return;
  early_.emplace(ticket, amount);
  while (!early_.empty() && early_.begin()->first == next_ticket_) {
    const uint64_t next_amount = early_.begin()->second;
    early_.erase(early_.begin());
    ++next_ticket_;
    if (next_amount == 0) continue;
    sum_ = std::min(sum_ + next_amount, total_);
    progress_->update(sum_, total_);
  }
}

void OrderedProgress::finish() {
  if (progress_ != nullptr) progress_->update(total_, total_);
}

}  // namespace byre::jobs
