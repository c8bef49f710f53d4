// SPDX-License-Identifier: Apache-2.0
#include "jobs/bench.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "async/loop.h"
#include "byre/error.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

class Bench : public testing::Test {
 protected:
  Bench() { folder_.make("disk", std::vector<uint8_t>(kDiskSize, 1)); }

  BenchJob task(BenchRequests requests) const {
    BenchJob task;
    task.filename = folder_.file("disk");
    task.image.format = "raw";
    task.requests = requests;
    return task;
  }
  static std::string refusal(const BenchJob& task) {
    try {
      sync_wait(bench(task));
    } catch (const Error& error) {
      return error.message();
    }
    return "done";
  }
  static constexpr uint64_t kDiskSize = 8192;
  const test::TemporaryFolder folder_;
};

TEST_F(Bench, EveryRequestIsCounted) {
  const BenchResult result = sync_wait(bench(task({.count = 100, .length = 512, .step = 512})));
  EXPECT_EQ(result.latencies.count(), 100u);
  EXPECT_EQ(result.flushes, 0u);
  EXPECT_GE(result.elapsed, result.latencies.percentile_tenths(1));
}

TEST_F(Bench, WritesGoAroundTheDisk) {
  sync_wait(bench(task({.writes = true,
                        .count = 4,
                        .length = 1024,
                        .depth = 2,
                        .offset = 6144,
                        .step = 2048,
                        .pattern = 7})));
  const std::vector<uint8_t> bytes = folder_.contents("disk");
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(bytes[i], i % 2048 < 1024 ? 7 : 1) << i;
  }
}

TEST_F(Bench, FlushesFollowTheIntervalAndTheLastRequest) {
  for (const bool drains : {true, false}) {
    BenchRequests requests{.writes = true, .count = 10, .length = 512, .depth = 2, .step = 512};
    requests.flush_interval = 4;
    requests.drains = drains;
    const BenchResult result = sync_wait(bench(task(requests)));
    EXPECT_EQ(result.flushes, 3u);
    EXPECT_EQ(result.latencies.count(), 10u);
  }
}

TEST_F(Bench, ARequestPastTheEndFails) {
  EXPECT_EQ(refusal(task({.length = kDiskSize + 1})), "Failed request: Input/output error");
  EXPECT_EQ(refusal(task({.offset = kDiskSize})), "Failed request: Input/output error");
  EXPECT_EQ(refusal(task({.count = 2, .length = 4096, .step = 6144})),
            "Failed request: Input/output error");
  EXPECT_EQ(refusal(task({.count = 2, .length = kDiskSize, .step = kDiskSize})), "done");
}

TEST_F(Bench, ItStopsWhenAsked) {
  Cancellation cancelled;
  cancelled.request();
  BenchJob stopped = task({});
  stopped.cancellation = &cancelled;
  EXPECT_THROW(sync_wait(bench(stopped)), Error);
}

TEST_F(Bench, NativeRequestsBypassTheCache) {
  BenchJob native = task({.count = 1});
  native.native_aio = true;
  EXPECT_NE(refusal(native).find("requires direct access"), std::string::npos);
}

}  // namespace
}  // namespace byre::jobs
