// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "async/loop.h"
#include "qcow2/tables/tables.h"

namespace byre::qcow2 {

// Frees the memory of table slices that no request has used for a while: the option
// "cache-clean-interval".
class CacheCleaner {
 public:
  // The clock is read once per this many requests: it costs as much as a lookup.
  static constexpr uint64_t kRequestsPerClockRead = 16;

  // `interval`: 0: never.
  CacheCleaner(std::chrono::seconds interval, Tables* tables)
      : interval_(interval), tables_(tables) {}

  // Call at the beginning of a request. At most once per interval, evicts what no request has used
  // since the last time.
  void clean_if_due() {
    if (count_request()) clean_at(Loop::current().now());
  }
  // The two steps of it. The first needs no loop: it counts the request, and returns whether the
  // clock is to be read.
  bool count_request() {
    return interval_.count() != 0 && ++requests_ % kRequestsPerClockRead == 0;
  }
  void clean_at(Loop::Clock::time_point now);

 private:
  const std::chrono::seconds interval_;
  Tables* tables_;
  uint64_t requests_ = 0;
  std::optional<Loop::Clock::time_point> next_;
};

}  // namespace byre::qcow2
