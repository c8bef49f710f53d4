// SPDX-License-Identifier: Apache-2.0
#include "jobs/ordered_progress.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace byre::jobs {
namespace {

struct Record : Progress {
  void update(uint64_t done, uint64_t total) override { calls.emplace_back(done, total); }
  std::vector<std::pair<uint64_t, uint64_t>> calls;
};
using Calls = std::vector<std::pair<uint64_t, uint64_t>>;

TEST(OrderedProgress, PiecesAreReportedInTheOrderOfTheirTickets) {
  Record record;
  OrderedProgress progress(&record, 100);
  progress.done(1, 20);
  progress.done(2, 0);
  EXPECT_TRUE(record.calls.empty());
  progress.done(0, 30);
  progress.done(3, 50);
  EXPECT_EQ(record.calls, (Calls{{30, 100}, {50, 100}, {100, 100}}));
}

TEST(OrderedProgress, NeverReportsMoreThanTheTotal) {
  Record record;
  OrderedProgress progress(&record, 10);
  progress.done(0, 30);
  progress.finish();
  EXPECT_EQ(record.calls, (Calls{{10, 10}, {10, 10}}));
}

TEST(OrderedProgress, WithoutAListenerNothingHappens) {
  OrderedProgress progress(nullptr, 10);
  progress.done(0, 5);
  progress.finish();
}

}  // namespace
}  // namespace byre::jobs
