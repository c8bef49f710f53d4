// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/cancellation.h"
#include "async/loop.h"

namespace byre::jobs {

// Limits a job to a number of bytes per second, measured over its whole run: after a pause it may
// not catch up by more than one second's worth.
class RateLimit {
 public:
  // 0: unlimited. `cancellation` may be nullptr.
  RateLimit(uint64_t bytes_per_second, const Cancellation* cancellation)
      : bytes_per_second_(bytes_per_second), cancellation_(cancellation) {}

  // Returns when `length` more bytes may be transferred, or throws Error(kCancelled) soon after a
  // request for that.
  Task<void> take(uint64_t length);

 private:
  const uint64_t bytes_per_second_;
  const Cancellation* const cancellation_;
  // When everything taken so far would be transferred at the allowed rate.
  std::optional<Loop::Clock::time_point> clear_at_;
};

}  // namespace byre::jobs
