// SPDX-License-Identifier: Apache-2.0
#include "jobs/rate_limit.h"

#include <gtest/gtest.h>

#include "byre/error.h"

namespace byre::jobs {
namespace {

Task<void> take_many(RateLimit& limit, int times, uint64_t length) {
  for (int i = 0; i < times; ++i) co_await limit.take(length);
}

TEST(RateLimit, BytesGoAtTheAllowedRate) {
  Loop loop({.seed = 1});
  const auto start = loop.now();
  RateLimit limit(1000, nullptr);
  loop.run(take_many(limit, 11, 500));  // the first goes at once
  EXPECT_EQ(loop.now() - start, std::chrono::seconds(5));
}

TEST(RateLimit, NoLimitMeansNoWaiting) {
  Loop loop({.seed = 1});
  const auto start = loop.now();
  RateLimit limit(0, nullptr);
  loop.run(take_many(limit, 1000, UINT64_MAX));
  EXPECT_EQ(loop.now(), start);
}

TEST(RateLimit, WhoeverWaitsCanBeCancelled) {
  Loop loop({.seed = 1});
  Cancellation cancellation;
  RateLimit limit(1, &cancellation);
  loop.run(take_many(limit, 1, 1000));
  cancellation.request();
  EXPECT_THROW(loop.run(take_many(limit, 1, 1)), Error);
}

TEST(RateLimit, AnAbsurdlyLongWaitDoesNotOverflowTheClock) {
  Loop loop({.seed = 1});
  const auto start = loop.now();
  RateLimit limit(1, nullptr);
  loop.run(take_many(limit, 2, UINT64_MAX));
  EXPECT_EQ(loop.now() - start, std::chrono::hours(365 * 24));
}

}  // namespace
}  // namespace byre::jobs
