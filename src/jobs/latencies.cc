// SPDX-License-Identifier: Apache-2.0
// Above kExact, each power of two has kExact / 2 buckets: the bucket of a value is its kExactBits
// leading bits.
#include "jobs/latencies.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace byre::jobs {

Latencies::Latencies() : buckets_(bucket_of(UINT64_MAX) + 1) {}

size_t Latencies::bucket_of(uint64_t value) {
  if (value < kExact) return value;
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - kExactBits;
  return shift * (kExact / 2) + (value >> shift);
}

uint64_t Latencies::largest_of(size_t bucket) {
  if (bucket < kExact) return bucket;
  const uint64_t shift = (bucket - kExact) / (kExact / 2) + 1;
  const uint64_t leading = bucket - shift * (kExact / 2);
  return (leading << shift) + ((uint64_t{1} << shift) - 1);
}

void Latencies::add(Duration duration) {
  duration = std::max(duration, Duration(0));
  ++buckets_[bucket_of(static_cast<uint64_t>(duration.count()))];
  ++count_;
  max_ = std::max(max_, duration);
}

Latencies::Duration Latencies::percentile_tenths(uint64_t tenths) const {
  BYRE_ASSERT(tenths >= 1 && tenths <= 1000);
  if (count_ == 0) return Duration(0);
  const uint64_t wanted = count_ / 1000 * tenths + (count_ % 1000 * tenths + 999) / 1000;
  uint64_t done = 0;
  size_t bucket = 0;
  while (done + buckets_[bucket] < wanted) done += buckets_[bucket++];
  return std::min(max_, Duration(static_cast<int64_t>(largest_of(bucket))));
}

}  // namespace byre::jobs
