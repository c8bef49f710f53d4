// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/reference_counts.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace byre::qcow2 {
namespace {

using Claim = ReferenceCounts::Claim;

TEST(ReferenceCounts, CountAsAMapDoesInEveryFormOfAPage) {
  std::mt19937_64 random(1);
  for (const uint64_t count_max : {1u, 3u, 15u, 255u, 65535u}) {
    constexpr uint64_t kClusters = 3 * ReferenceCounts::kPageClusters;
    ReferenceCounts counts(kClusters, count_max);
    std::map<uint64_t, uint64_t> expected;
    for (int i = 0; i < 6000; ++i) {
      // The first page stays a list, the others become arrays.
      const uint64_t cluster = i % 60 == 0 ? random() % 50 : 4096 + random() % 8192;
      const uint64_t times = random() % 16 == 0 ? random() % 200 : 1;
      if (times != 1 || counts.add_fast(cluster, 1, Claim::kNone) == 0) {
        const uint64_t room = count_max - expected[cluster];
        const uint64_t overflow = counts.add(cluster, times, Claim::kNone);
        EXPECT_EQ(overflow, times > room ? times - room : 0);
        expected[cluster] += times - overflow;
      } else {
        ++expected[cluster];
      }
    }
    ReferenceCounts::PageCounts page;
    for (uint64_t cluster = 0; cluster < kClusters; ++cluster) {
      if (cluster % ReferenceCounts::kPageClusters == 0) {
        ASSERT_TRUE(counts.load_page(cluster / ReferenceCounts::kPageClusters, &page));
      }
      const auto found = expected.find(cluster);
      const uint64_t count = found == expected.end() ? 0 : found->second;
      ASSERT_EQ(counts.count(cluster), count);
      ASSERT_EQ(page[cluster % ReferenceCounts::kPageClusters], count);
    }
  }
}

TEST(ReferenceCounts, PagesWithoutReferencesAreEmpty) {
  ReferenceCounts counts(uint64_t{1} << 31, 65535);
  counts.add(5000, 1, Claim::kNone);
  ReferenceCounts::PageCounts page;
  EXPECT_TRUE(counts.page_is_empty(0));
  EXPECT_FALSE(counts.load_page(0, &page));
  EXPECT_FALSE(counts.page_is_empty(1));
  EXPECT_EQ(counts.count(4999), 0u);
  EXPECT_EQ(counts.count(uint64_t{1} << 40), 0u);
}

TEST(ReferenceCounts, GrowForClustersPastTheEnd) {
  ReferenceCounts counts(1, 65535);
  counts.grow(4097);
  EXPECT_EQ(counts.add(4096, 2, Claim::kNone), 0u);
  EXPECT_EQ(counts.count(4096), 2u);
  EXPECT_EQ(counts.page_count(), 2u);
}

TEST(ReferenceCounts, AClaimHoldsIfItAgreesWithTheCount) {
  const auto holds = [](Claim claim, uint64_t times, uint64_t neighbours) {
    ReferenceCounts counts(4096, 65535);
    for (uint64_t i = 0; i < neighbours; ++i) counts.add(100 + i, 1, Claim::kCopied);
    counts.add(7, times, claim);
    return counts.claims_hold();
  };
  for (const uint64_t neighbours : {0, 1000}) {
    EXPECT_TRUE(holds(Claim::kCopied, 1, neighbours));
    EXPECT_FALSE(holds(Claim::kCopied, 2, neighbours));
    EXPECT_FALSE(holds(Claim::kCopied, 500, neighbours));
    EXPECT_FALSE(holds(Claim::kNotCopied, 1, neighbours));
    EXPECT_TRUE(holds(Claim::kNotCopied, 2, neighbours));
    EXPECT_TRUE(holds(Claim::kNotCopied, 500, neighbours));
    EXPECT_TRUE(holds(Claim::kNone, 1, neighbours));
  }
}

}  // namespace
}  // namespace byre::qcow2
