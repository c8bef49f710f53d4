// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/loop.h"

namespace byre::jobs {

// Holds a job to so many bytes a second, measured over its whole run: after a pause it may not
// catch up by more than a second's worth.
class RateLimit {
 public:
  // 0: no limit.
  explicit RateLimit(uint64_t bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  // Returns when `length` more bytes may go.
  Task<void> take(uint64_t length);

 private:
  const uint64_t bytes_per_second_;
  // When all that was taken so far has gone at the allowed rate.
  std::optional<Loop::Clock::time_point> clear_at_;
};

}  // namespace byre::jobs
