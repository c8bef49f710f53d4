// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/refcount_plan.h"

#include <gtest/gtest.h>

#include "byre/error.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {
namespace {

using Claim = ReferenceCounts::Claim;

layout::Geometry geometry_of(uint32_t cluster_bits, uint32_t refcount_order) {
  layout::Header header;
  header.cluster_bits = cluster_bits;
  header.refcount_order = refcount_order;
  return layout::Geometry(header);
}

// Clusters of 512 bytes, 64-bit refcounts: 64 refcounts per block.
const layout::Geometry kSmall = geometry_of(9, 6);

TEST(RefcountPlan, HasOneBlockForASmallFile) {
  ReferenceCounts counts(10, 1000);
  counts.add(0, 1, Claim::kNone);
  const RefcountPlan plan = plan_refcounts(counts, kSmall, 10);
  EXPECT_EQ(plan.table_clusters, 1u);
  EXPECT_EQ(plan.blocks, std::vector<uint64_t>{0});
  EXPECT_EQ(plan.block_cluster(0), 11u);
}

TEST(RefcountPlan, HasNoBlocksForWhatIsNotInUse) {
  ReferenceCounts counts(100000, 1000);
  counts.add(0, 1, Claim::kNone);
  counts.add(64 * 500 + 3, 1, Claim::kNone);
  const RefcountPlan plan = plan_refcounts(counts, kSmall, 100000);
  EXPECT_EQ(plan.table_clusters, 25u);  // 100000 / 64 entries of 8 bytes
  EXPECT_EQ(plan.blocks, (std::vector<uint64_t>{0, 500, 1562}));
}

TEST(RefcountPlan, CountsItselfEvenIfThatNeedsAnotherBlock) {
  ReferenceCounts counts(63, 1000);
  counts.add(0, 1, Claim::kNone);
  const RefcountPlan plan = plan_refcounts(counts, kSmall, 63);
  EXPECT_EQ(plan.blocks, (std::vector<uint64_t>{0, 1}));
}

TEST(RefcountPlan, ConvergesIfTheTableGrowsByItsOwnBlocks) {
  ReferenceCounts counts(64 * 64, 1000);
  for (uint64_t cluster = 0; cluster < counts.cluster_count(); ++cluster) {
    counts.add(cluster, 1, Claim::kNone);
  }
  const RefcountPlan plan = plan_refcounts(counts, kSmall, 64 * 64);
  const uint64_t last = plan.first + plan.cluster_count() - 1;
  EXPECT_EQ(plan.blocks.back(), last / 64);
  EXPECT_EQ(plan.blocks.size(), last / 64 + 1);
  EXPECT_EQ(plan.table_clusters, 2u);
}

TEST(RefcountPlan, RefusesATableThatReadersRefuse) {
  constexpr uint64_t kFirst = 64 * layout::limits::kRefcountTableEntriesMax;
  ReferenceCounts counts(10, 1000);
  counts.add(0, 1, Claim::kNone);
  EXPECT_THROW(plan_refcounts(counts, kSmall, kFirst), Error);
}

TEST(RefcountPlan, BlocksHaveTheCountsOfEveryWidth) {
  for (uint32_t order = 0; order <= 6; ++order) {
    const layout::Geometry geometry = geometry_of(9, order);
    const uint64_t entries = geometry.refcount_block_entries();
    ReferenceCounts counts(3 * entries - 5, geometry.refcount_max());
    counts.add(entries, 1, Claim::kNone);
    counts.add(2 * entries - 1, std::min<uint64_t>(geometry.refcount_max(), 700), Claim::kNone);
    counts.add(2 * entries, 1, Claim::kNone);
    std::vector<uint8_t> block(512, 0xff);
    fill_refcount_block(counts, geometry, 1, block);
    for (uint64_t i = 0; i < entries; ++i) {
      EXPECT_EQ(layout::load_refcount(block, i, order), counts.count(entries + i)) << i;
    }
    fill_refcount_block(counts, geometry, 2, block);
    EXPECT_EQ(layout::load_refcount(block, 0, order), 1u);
    EXPECT_EQ(layout::load_refcount(block, entries - 1, order), 0u);
  }
}

}  // namespace
}  // namespace byre::qcow2
