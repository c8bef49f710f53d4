// SPDX-License-Identifier: Apache-2.0
#include "jobs/latencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace byre::jobs {
namespace {

using Duration = Latencies::Duration;

// Of a sorted list, without a histogram.
uint64_t percentile(const std::vector<uint64_t>& sorted, uint64_t tenths) {
  return sorted[(sorted.size() * tenths + 999) / 1000 - 1];
}

TEST(Latencies, NoneGiveZero) {
  const Latencies none;
  EXPECT_EQ(none.percentile_tenths(500), Duration(0));
  EXPECT_EQ(none.max(), Duration(0));
}

TEST(Latencies, ASingleOneIsEveryPercentile) {
  for (const int64_t value : {int64_t{0}, int64_t{1}, int64_t{2047}, int64_t{2048},
                              int64_t{123456789}, int64_t{INT64_MAX}}) {
    Latencies one;
    one.add(Duration(value));
    for (const uint64_t tenths : {1u, 500u, 999u, 1000u}) {
      EXPECT_EQ(one.percentile_tenths(tenths), Duration(value));
    }
  }
}

TEST(Latencies, SmallValuesAreExact) {
  Latencies times;
  for (int64_t value = 1000; value > 0; --value) times.add(Duration(value));
  for (uint64_t tenths = 1; tenths <= 1000; ++tenths) {
    EXPECT_EQ(times.percentile_tenths(tenths), Duration(tenths));
  }
}

TEST(Latencies, PercentilesAreAtMostAThousandthTooLong) {
  std::mt19937_64 random(1);
  for (const unsigned bits : {11u, 12u, 20u, 40u, 62u}) {
    for (const size_t count : {1u, 2u, 9u, 1000u, 12345u}) {
      Latencies times;
      std::vector<uint64_t> sorted;
      for (size_t i = 0; i < count; ++i) {
        sorted.push_back(random() >> (63 - random() % bits));
        times.add(Duration(sorted.back()));
      }
      std::ranges::sort(sorted);
      for (const uint64_t tenths : {1u, 500u, 900u, 990u, 999u, 1000u}) {
        const uint64_t exact = percentile(sorted, tenths);
        const auto found = static_cast<uint64_t>(times.percentile_tenths(tenths).count());
        EXPECT_GE(found, exact);
        EXPECT_LE(found, exact + exact / 1000);
      }
      EXPECT_EQ(times.max(), Duration(sorted.back()));
    }
  }
}

TEST(Latencies, TenMillionAreCounted) {
  Latencies times;
  for (int i = 0; i < 10'000'000; ++i) times.add(Duration(i % 1000 == 999 ? 1500 : 100));
  EXPECT_EQ(times.count(), 10'000'000u);
  EXPECT_EQ(times.percentile_tenths(999), Duration(100));
  EXPECT_EQ(times.percentile_tenths(1000), Duration(1500));
}

}  // namespace
}  // namespace byre::jobs
