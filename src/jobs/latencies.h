// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace byre::jobs {

// How long many requests took: a histogram whose size does not depend on their number. Values are
// counted exactly up to kExact nanoseconds, and above that in buckets that are at most a
// thousandth of the value wide.
class Latencies {
 public:
  using Duration = std::chrono::nanoseconds;

  Latencies();
  void add(Duration duration);

  uint64_t count() const { return count_; }
  Duration max() const { return max_; }
  // The shortest time within which at least that part of the requests were done: of 1000 requests,
  // the 999th is percentile_tenths(999), 99.9 %. At most a bucket too long. 0 if there are none.
  // REQUIRES: `tenths` is in [1, 1000].
  Duration percentile_tenths(uint64_t tenths) const;

 private:
  static constexpr unsigned kExactBits = 11;
  static constexpr uint64_t kExact = uint64_t{1} << kExactBits;

  static size_t bucket_of(uint64_t value);
  static uint64_t largest_of(size_t bucket);

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  Duration max_{0};
};

}  // namespace byre::jobs
