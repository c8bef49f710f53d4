// SPDX-License-Identifier: Apache-2.0
#include "jobs/zero_runs.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace byre::jobs {
namespace {

using Runs = std::vector<ZeroRun>;

std::vector<uint8_t> with_data(size_t size, std::vector<std::pair<size_t, size_t>> ranges) {
  std::vector<uint8_t> bytes(size, 0);
  for (const auto& [offset, length] : ranges) {
    std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(offset), length, 7);
  }
  return bytes;
}

TEST(ZeroRuns, AnEmptyBufferHasNone) {
  EXPECT_TRUE(zero_runs({}, 0, {}).empty());
}

TEST(ZeroRuns, ZeroesAloneAreOneRunWhateverTheirSize) {
  EXPECT_EQ(zero_runs(with_data(512, {}), 512, {}), (Runs{{512, true}}));
  EXPECT_EQ(zero_runs(with_data(1 << 20, {}), 0, {}), (Runs{{1 << 20, true}}));
}

TEST(ZeroRuns, DataAndZeroesAlternateAtBlocksOfTheDefaultSize) {
  const auto bytes = with_data(65536, {{0, 1}, {20479, 1}, {65535, 1}});
  EXPECT_EQ(zero_runs(bytes, 0, {}),
            (Runs{{4096, false}, {12288, true}, {4096, false}, {40960, true}, {4096, false}}));
}

TEST(ZeroRuns, BlocksAreCountedFromTheTargetsStartNotTheBuffers) {
  const auto bytes = with_data(12288, {{4000, 1}});
  // At offset 512 the first block ends after 3584 bytes, so byte 4000 is in the second.
  EXPECT_EQ(zero_runs(bytes, 512, {}), (Runs{{3584, true}, {4096, false}, {4608, true}}));
}

TEST(ZeroRuns, SparseSizeZeroMakesEverythingData) {
  EXPECT_EQ(zero_runs(with_data(8192, {}), 0, sparse_rule(0, 512)), (Runs{{8192, false}}));
}

TEST(ZeroRuns, GapsShorterThanTheSparseSizeBetweenDataAreData) {
  const SparseRule rule = sparse_rule(12288, 1);
  EXPECT_EQ(rule.alignment, 8192u);
  const auto bytes = with_data(65536, {{0, 8192}, {16384, 8192}, {40960, 8192}});
  EXPECT_EQ(zero_runs(bytes, 0, rule),
            (Runs{{24576, false}, {16384, true}, {8192, false}, {16384, true}}));
}

TEST(ZeroRuns, AlignmentIsAtLeastASectorAndWhatTheTargetLikes) {
  EXPECT_EQ(sparse_rule(4096, 1).alignment, 4096u);
  EXPECT_EQ(sparse_rule(512, 4096).alignment, 4096u);
  EXPECT_EQ(sparse_rule(1536, 1).alignment, 1024u);
  EXPECT_EQ(sparse_rule(0, 1).alignment, 512u);
}

TEST(DifferenceRuns, UnitsThatAreEqualAreKept) {
  const auto bytes = with_data(8192, {{0, 1024}, {4096, 100}, {7000, 10}});
  const auto kept = with_data(8192, {{0, 1024}, {1600, 10}, {4096, 101}});
  const Runs expected{{.length = 1024, .is_kept = true}, {.length = 1024, .is_zero = true},
                      {.length = 2048, .is_kept = true}, {.length = 1024},
                      {.length = 1024, .is_kept = true}, {.length = 1024},
                      {.length = 1024, .is_kept = true}};
  EXPECT_EQ(difference_runs(bytes, kept, 1024), expected);
}

TEST(DifferenceRuns, PastItsEndTheOtherIsZeroes) {
  const auto bytes = with_data(4000, {{0, 100}, {3500, 10}});
  EXPECT_EQ(difference_runs(bytes, {}, 1024),
            (Runs{{.length = 1024}, {.length = 2048, .is_kept = true}, {.length = 928}}));
  EXPECT_EQ(difference_runs(bytes, ConstBytes(bytes).first(3600), 1024),
            (Runs{{.length = 4000, .is_kept = true}}));
  EXPECT_TRUE(difference_runs({}, bytes, 512).empty());
}

TEST(ZeroRuns, RunsAddUpToTheBufferForEverySizeAndOffset) {
  for (size_t size = 512; size < 40000; size += 1536) {
    const auto bytes = with_data(size, {{size / 3, size / 5 + 1}});
    for (const uint64_t offset : {0, 512, 3584, 4096, 1 << 20}) {
      uint64_t at = 0;
      for (const ZeroRun& run : zero_runs(bytes, offset, {})) {
        if (run.is_zero) {
          EXPECT_TRUE(is_all_zero(ConstBytes(bytes).subspan(at, run.length)));
        }
        at += run.length;
      }
      EXPECT_EQ(at, size);
    }
  }
}

}  // namespace
}  // namespace byre::jobs
