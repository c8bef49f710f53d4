// SPDX-License-Identifier: Apache-2.0
#include "jobs/dd.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre::jobs {
namespace {

TEST(Dd, WithoutOperandsEverythingIsCopied) {
  const DdPlan plan = plan_dd({}, 1000);
  EXPECT_EQ(plan.input_offset, 0u);
  EXPECT_EQ(plan.length, 1024u);
  EXPECT_TRUE(plan.can_skip);
}

TEST(Dd, CountCountsFromTheStartOfTheInputAsInQemu) {
  const DdPlan plan = plan_dd({.block_size = 1000, .count = 3, .skip = 1}, 1 << 20);
  EXPECT_EQ(plan.input_offset, 1000u);
  EXPECT_EQ(plan.length, 2000u);
}

TEST(Dd, SkippingToTheEndLeavesNothingAndPastItIsNotPossible) {
  EXPECT_EQ(plan_dd({.skip = 2}, 1024).length, 0u);
  EXPECT_TRUE(plan_dd({.skip = 2}, 1024).can_skip);
  EXPECT_FALSE(plan_dd({.skip = 3}, 1024).can_skip);
  EXPECT_FALSE(plan_dd({.count = 1, .skip = 2}, 1024).can_skip);
  EXPECT_FALSE(plan_dd({.block_size = INT32_MAX, .skip = INT64_MAX}, 1024).can_skip);
}

TEST(Dd, AnEnormousCountIsTheWholeInput) {
  EXPECT_EQ(plan_dd({.block_size = 1 << 20, .count = INT64_MAX}, 4096).length, 4096u);
  EXPECT_EQ(plan_dd({.count = 0}, 4096).length, 0u);
}

TEST(Dd, TheRangeArrivesAtTheStartOfTheOutput) {
  const auto bytes = test::pattern(0, 5 << 20, 3);
  storage::MemoryDevice input{ConstBytes(bytes)};
  const DdPlan plan = plan_dd({.block_size = 1000, .skip = 3}, input.size());
  storage::MemoryDevice output(plan.length);
  sync_wait(dd(input, output, plan, nullptr));
  EXPECT_EQ(output.get(0, plan.length), std::vector<uint8_t>(bytes.begin() + 3000, bytes.end()));
}

TEST(Dd, FailuresNameTheSideThatFailed) {
  for (const bool reading : {true, false}) {
    faults::FaultDevice input(std::make_unique<storage::MemoryDevice>(1 << 20));
    faults::FaultDevice output(std::make_unique<storage::MemoryDevice>(1 << 20));
    faults::FaultDevice& bad = reading ? input : output;
    bad.add_rule({.operation = reading ? faults::Operation::kRead : faults::Operation::kWrite,
                  .errno_value = ENOSPC});
    try {
      sync_wait(dd(input, output, plan_dd({}, 1 << 20), nullptr));
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.data().code, reading ? "dd-read-failed" : "dd-write-failed");
      EXPECT_EQ(error.data().offset, 0u);
      EXPECT_EQ(error.errno_value(), ENOSPC);
      EXPECT_THAT(error.message(), testing::StartsWith(reading ? "cannot read from offset 0: "
                                                               : "cannot write to offset 0: "));
    }
  }
}

TEST(Dd, StopsWhenAskedTo) {
  storage::MemoryDevice input(1 << 20);
  storage::MemoryDevice output(1 << 20);
  Cancellation cancellation;
  cancellation.request();
  try {
    sync_wait(dd(input, output, plan_dd({}, 1 << 20), &cancellation));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
}

}  // namespace
}  // namespace byre::jobs
