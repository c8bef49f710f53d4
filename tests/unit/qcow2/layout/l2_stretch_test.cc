// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/l2_stretch.h"

#include <gtest/gtest.h>

#include <random>

#include "samples.h"

namespace byre::qcow2::layout {
namespace {

constexpr uint64_t kCluster = 0x10000;

std::vector<uint8_t> table_of(const std::vector<L2Entry>& entries, const Geometry& geometry) {
  std::vector<uint8_t> table(entries.size() * geometry.l2_entry_size());
  for (uint32_t i = 0; i < entries.size(); ++i) entries[i].store(table, i, geometry);
  return table;
}

// Entries that are consecutive for a while, then not, depending on a seed.
std::vector<L2Entry> some_entries(uint32_t count, const Geometry& geometry, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<L2Entry> entries;
  while (entries.size() < count) {
    const uint64_t word = random() % 3 == 0 ? 0 : L2Entry::kCopied | (random() % 100 * kCluster);
    const uint64_t bitmap = geometry.extended_l2() ? random() % 2 * L2Entry::kAllAllocated : 0;
    const uint64_t step = random() % 3 == 0 ? random() % 5 : random() % 2 * kCluster;
    const uint64_t length = 1 + random() % 9;
    for (uint64_t i = 0; i < length && entries.size() < count; ++i) {
      entries.emplace_back(word + i * step, bitmap);
    }
  }
  return entries;
}

TEST(L2Stretch, EndsWhereTheNextEntryDoesNotFollow) {
  const Geometry geometry = sample_geometry(16);
  const uint64_t first = L2Entry::kCopied | 5 * kCluster;
  const std::vector<uint8_t> table =
      table_of({L2Entry(first), L2Entry(first + kCluster), L2Entry(first + 2 * kCluster),
                L2Entry((first + 3 * kCluster) & ~L2Entry::kCopied), L2Entry(), L2Entry()},
               geometry);
  EXPECT_EQ(l2_stretch_at(table, 0, 100, geometry), (L2Stretch{L2Entry(first), kCluster, 3}));
  EXPECT_EQ(l2_stretch_at(table, 0, 2, geometry), (L2Stretch{L2Entry(first), kCluster, 2}));
  EXPECT_EQ(l2_stretch_at(table, 2, 100, geometry).count, 1u);
  EXPECT_EQ(l2_stretch_at(table, 4, 100, geometry), (L2Stretch{L2Entry(), 0, 2}));
  EXPECT_EQ(l2_stretch_at(table, 5, 100, geometry), (L2Stretch{L2Entry(), 0, 1}));
}

TEST(L2Stretch, NeedsTheSameBitmapInExtendedEntries) {
  const Geometry geometry = sample_geometry(16, true);
  const uint64_t first = L2Entry::kCopied | 5 * kCluster;
  const std::vector<uint8_t> table =
      table_of({L2Entry(first, 3), L2Entry(first + kCluster, 3), L2Entry(first + 2 * kCluster, 1)},
               geometry);
  EXPECT_EQ(l2_stretch_at(table, 0, 100, geometry), (L2Stretch{L2Entry(first, 3), kCluster, 2}));
}

TEST(PackedL2, UnpacksWhatWasPacked) {
  for (const bool extended : {false, true}) {
    const Geometry geometry = sample_geometry(16, extended);
    for (uint64_t seed = 0; seed < 200; ++seed) {
      const std::vector<L2Entry> entries = some_entries(64, geometry, seed);
      const std::vector<uint8_t> table = table_of(entries, geometry);
      const std::optional<PackedL2> packed = PackedL2::pack(table, geometry, entries.size());
      ASSERT_TRUE(packed);
      std::vector<uint8_t> unpacked(table.size(), 0xff);
      packed->unpack(unpacked, geometry);
      EXPECT_EQ(unpacked, table) << "seed " << seed;
      for (uint32_t i = 0; i < entries.size(); ++i) {
        const L2Stretch stretch = packed->stretch_at(i, 5);
        ASSERT_LE(stretch.count, 5u);
        for (uint32_t k = 0; k < stretch.count; ++k) ASSERT_EQ(stretch.entry(k), entries[i + k]);
      }
      EXPECT_FALSE(PackedL2::pack(table, geometry, packed->stretches() - 1));
    }
  }
}

TEST(PackedL2, ATableInOrderIsOneStretch) {
  const Geometry geometry = sample_geometry(16);
  std::vector<L2Entry> entries;
  for (uint64_t i = 0; i < 8192; ++i) entries.emplace_back(L2Entry::kCopied | (i + 7) * kCluster);
  const std::optional<PackedL2> packed = PackedL2::pack(table_of(entries, geometry), geometry, 1);
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->stretch_at(1000, 8192),
            (L2Stretch{L2Entry(L2Entry::kCopied | 1007 * kCluster), kCluster, 7192}));
}

}  // namespace
}  // namespace byre::qcow2::layout
