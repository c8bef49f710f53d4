// SPDX-License-Identifier: Apache-2.0
#include "jobs/rate_limit.h"

#include <gtest/gtest.h>

namespace byre::jobs {
namespace {

Task<void> take_many(RateLimit& limit, int times, uint64_t length) {
  for (int i = 0; i < times; ++i) co_await limit.take(length);
}

TEST(RateLimit, BytesGoAtTheAllowedRate) {
  Loop loop({.seed = 1});
  const auto start = loop.now();
  RateLimit limit(1000);
  loop.run(take_many(limit, 11, 500));  // the first goes at once
  EXPECT_EQ(loop.now() - start, std::chrono::seconds(5));
}

TEST(RateLimit, NoLimitMeansNoWaiting) {
  Loop loop({.seed = 1});
  const auto start = loop.now();
  RateLimit limit(0);
  loop.run(take_many(limit, 1000, UINT64_MAX));
  EXPECT_EQ(loop.now(), start);
}

TEST(RateLimit, AnAbsurdlyLongWaitDoesNotOverflowTheClock) {
  Loop loop({.seed = 1});
  const auto start = loop.now();
  RateLimit limit(1);
  loop.run(take_many(limit, 2, UINT64_MAX));
  EXPECT_EQ(loop.now() - start, std::chrono::hours(365 * 24));
}

}  // namespace
}  // namespace byre::jobs
