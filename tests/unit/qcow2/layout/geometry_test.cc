// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/geometry.h"

#include <gtest/gtest.h>

#include "samples.h"

namespace byre::qcow2::layout {
namespace {

// The formulas of the specification, as divisions, against the shifts.
TEST(Geometry, ShiftsAreTheSpecificationsDivisions) {
  for (uint32_t bits = 9; bits <= 21; ++bits) {
    for (const bool extended : {false, true}) {
      if (extended && bits < limits::kClusterBitsMinExtendedL2) continue;
      const Geometry geometry = sample_geometry(bits, extended);
      const uint64_t cluster_size = uint64_t{1} << bits;
      const uint64_t l2_entries = cluster_size / (extended ? 16 : 8);
      EXPECT_EQ(geometry.cluster_size(), cluster_size);
      EXPECT_EQ(geometry.l2_entries(), l2_entries);
      EXPECT_EQ(geometry.l2_coverage(), l2_entries * cluster_size);
      EXPECT_EQ(geometry.subcluster_size(), extended ? cluster_size / 32 : cluster_size);
      for (const uint64_t offset :
           {uint64_t{0}, cluster_size - 1, cluster_size, cluster_size * l2_entries - 1,
            cluster_size * l2_entries,
            cluster_size * l2_entries * 5 + cluster_size * 3 + 777 % cluster_size,
            geometry.disk_size_max() - 1}) {
        const GuestOffset guest(offset);
        EXPECT_EQ(geometry.l2_index(guest), (offset / cluster_size) % l2_entries);
        EXPECT_EQ(geometry.l1_index(guest), (offset / cluster_size) / l2_entries);
        EXPECT_EQ(geometry.offset_in_cluster(guest), offset % cluster_size);
        EXPECT_EQ(geometry.subcluster_index(guest),
                  offset % cluster_size / geometry.subcluster_size());
        EXPECT_EQ(geometry.guest_offset(geometry.l1_index(guest), geometry.l2_index(guest)),
                  geometry.cluster_start(guest));
        EXPECT_LT(geometry.l1_index(guest), limits::kL1EntriesMax);
      }
    }
  }
}

TEST(Geometry, RefcountsAreFoundByTheSpecificationsFormula) {
  for (uint32_t bits = 9; bits <= 21; ++bits) {
    for (uint32_t order = 0; order <= 6; ++order) {
      const Geometry geometry = sample_geometry(bits, false, false, 3, order);
      const uint64_t entries = geometry.cluster_size() * 8 / (uint64_t{1} << order);
      EXPECT_EQ(geometry.refcount_block_entries(), entries);
      const HostOffset offset(geometry.cluster_size() * (entries * 7 + 3) + 5);
      const HostCluster cluster = geometry.cluster_of(offset);
      EXPECT_EQ(geometry.refcount_table_index(cluster), 7u);
      EXPECT_EQ(geometry.refcount_block_index(cluster), 3u);
      EXPECT_EQ(geometry.refcount_block_start(7).value() + 3, cluster.value());
      EXPECT_EQ(geometry.offset_of(cluster), geometry.cluster_start(offset));
    }
  }
}

TEST(Geometry, TheLargestRefcountFillsItsEntry) {
  EXPECT_EQ(sample_geometry(16, false, false, 3, 0).refcount_max(), 1u);
  EXPECT_EQ(sample_geometry(16, false, false, 3, 4).refcount_max(), 65535u);
  EXPECT_EQ(sample_geometry(16, false, false, 3, 6).refcount_max(), UINT64_MAX);
}

// Notes at "size": 128 GB with clusters of 512 bytes, 2 EB with clusters of 2 MB.
TEST(Geometry, TheL1TablesLimitGivesTheSpecificationsLargestDisks) {
  EXPECT_EQ(sample_geometry(9).disk_size_max(), uint64_t{1} << 37);
  EXPECT_EQ(sample_geometry(21).disk_size_max(), uint64_t{1} << 61);
  EXPECT_EQ(sample_geometry(9).l1_entries_for(uint64_t{1} << 37), limits::kL1EntriesMax);
  EXPECT_EQ(sample_geometry(9).l1_entries_for((uint64_t{1} << 37) + 1), limits::kL1EntriesMax + 1);
  EXPECT_EQ(sample_geometry(16).l1_entries_for(0), 0u);
  EXPECT_EQ(sample_geometry(16).l1_entries_for(UINT64_MAX), uint64_t{1} << 35);
}

// Notes at "refcount table": 2 EB with clusters of 2 MB and 16 bits, 32 GB with 512 bytes and 64.
TEST(Geometry, TheRefcountTablesLimitGivesTheSpecificationsLargestFiles) {
  const auto largest = [](const Geometry& geometry) {
    return geometry.refcount_block_start(limits::kRefcountTableEntriesMax).value()
           << geometry.cluster_bits();
  };
  EXPECT_EQ(largest(sample_geometry(21)), uint64_t{1} << 61);
  EXPECT_EQ(largest(sample_geometry(9, false, false, 3, 6)), uint64_t{1} << 35);
}

// "a 2M cluster size requires compressed clusters to reside below 512 TB (49 bits)"
TEST(Geometry, CompressedOffsetsHaveFewerBitsInLargerClusters) {
  EXPECT_EQ(sample_geometry(21).compressed_offset_end(), uint64_t{1} << 49);
  EXPECT_EQ(sample_geometry(16).compressed_offset_end(), uint64_t{1} << 54);
  EXPECT_EQ(sample_geometry(14).compressed_offset_end(), uint64_t{1} << 56);
  EXPECT_EQ(sample_geometry(9).compressed_offset_bits(), 61u);
  EXPECT_EQ(sample_geometry(9).compressed_offset_end(), uint64_t{1} << 56);
  EXPECT_EQ(sample_geometry(9).compressed_sectors_max(), 1u);
  EXPECT_EQ(sample_geometry(21).compressed_sectors_max(), 8191u);
}

TEST(Geometry, TablesTakeWholeClusters) {
  const Geometry geometry = sample_geometry(9);
  EXPECT_EQ(geometry.clusters_for_entries(64), 1u);
  EXPECT_EQ(geometry.clusters_for_entries(65), 2u);
  EXPECT_EQ(geometry.clusters_for(0), 0u);
  EXPECT_TRUE(geometry.is_cluster_aligned(HostOffset(1024)));
  EXPECT_FALSE(geometry.is_cluster_aligned(HostOffset(1025)));
}

}  // namespace
}  // namespace byre::qcow2::layout
