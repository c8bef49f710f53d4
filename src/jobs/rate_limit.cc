// SPDX-License-Identifier: Apache-2.0
#include "jobs/rate_limit.h"

#include <algorithm>
#include <chrono>

namespace byre::jobs {

Task<void> RateLimit::take(uint64_t length) {
  if (bytes_per_second_ == 0) co_return;
  Loop& loop = Loop::current();
  const Loop::Clock::time_point now = loop.now();
  const Loop::Clock::time_point start = std::max(clear_at_.value_or(now), now);
  // Bounded, so that no combination of values overflows the clock.
  constexpr double kSecondsMax = 365.0 * 24 * 3600;
  const double seconds =
      std::min(static_cast<double>(length) / static_cast<double>(bytes_per_second_), kSecondsMax);
  clear_at_ = start + std::chrono::duration_cast<Loop::Clock::duration>(
                          std::chrono::duration<double>(seconds));
  constexpr auto kPatience = std::chrono::milliseconds(100);
  for (Loop::Clock::time_point at = now; at < start; at = loop.now()) {
    if (cancellation_ != nullptr) cancellation_->check();
    const Loop::Clock::time_point until =
        cancellation_ == nullptr ? start : std::min<Loop::Clock::time_point>(start, at + kPatience);
    co_await loop.sleep_until(until);
  }
}

}  // namespace byre::jobs
