// SPDX-License-Identifier: Apache-2.0
#include "qcow2/update/l2_table_walk.h"

#include <gtest/gtest.h>

#include <random>

#include "qcow2/layout/features.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2 {
namespace {

using layout::L2Entry;
using layout::L2Stretch;

constexpr uint64_t kCluster = 0x10000;

layout::Geometry geometry(bool has_extended_entries = false) {
  layout::Header header;
  header.version = 3;
  header.cluster_bits = 16;
  header.size = 1 << 30;
  if (has_extended_entries) header.incompatible_features = layout::incompatible::kExtendedL2;
  return layout::Geometry(header);
}

std::vector<uint8_t> table_with(const std::vector<L2Entry>& entries, const layout::Geometry& of) {
  std::vector<uint8_t> table(of.cluster_size());
  for (uint32_t i = 0; i < entries.size(); ++i) entries[i].store(table, i, of);
  return table;
}

TEST(EntriesAlike, AreOfConsecutiveClustersOrOfNone) {
  const layout::Geometry of = geometry();
  const uint64_t data = L2Entry::kCopied | 5 * kCluster;
  const uint64_t compressed = L2Entry::kCompressed | 5 * kCluster;
  const auto table = table_with(
      {L2Entry(data), L2Entry(data + kCluster), L2Entry(data + 2 * kCluster), L2Entry(data),
       L2Entry(data), L2Entry(compressed), L2Entry(compressed + kCluster), L2Entry(L2Entry::kZero),
       L2Entry(L2Entry::kZero), L2Entry(), L2Entry(kCluster), L2Entry(2 * kCluster)},
      of);
  const auto count_at = [&](uint32_t index) { return entries_alike(table, index, of).count; };
  EXPECT_EQ(count_at(0), 3u);
  EXPECT_EQ(count_at(1), 2u);
  EXPECT_EQ(count_at(3), 1u) << "the same cluster twice";
  EXPECT_EQ(count_at(5), 1u) << "compressed";
  EXPECT_EQ(count_at(7), 2u) << "zeroes without clusters";
  EXPECT_EQ(count_at(9), 1u) << "unallocated, though the next entry follows";
  EXPECT_EQ(count_at(10), 2u);
  EXPECT_EQ(count_at(12), of.l2_entries() - 12);
}

TEST(EntriesAlike, EndAtTheHighestOffset) {
  const layout::Geometry of = geometry();
  const L2Entry last(layout::limits::kHostOffsetEnd - kCluster);
  const auto table =
      table_with({L2Entry(last.word() - kCluster), last, L2Entry(last.word() + kCluster)}, of);
  EXPECT_EQ(entries_alike(table, 0, of).count, 2u);
}

// One by one, as entries_alike() must not change what they mean.
TEST(EntriesAlike, MeanWhatEachOfThemMeans) {
  for (const bool has_extended_entries : {false, true}) {
    const layout::Geometry of = geometry(has_extended_entries);
    std::mt19937_64 random(1);
    std::vector<L2Entry> entries;
    while (entries.size() < of.l2_entries()) {
      const uint64_t flags[] = {0, L2Entry::kCopied, L2Entry::kZero, L2Entry::kCompressed};
      const uint64_t word = flags[random() % 4] | (random() % 20 * kCluster);
      const uint64_t bitmap = has_extended_entries ? random() % 3 * L2Entry::kAllAllocated : 0;
      const uint64_t step = random() % 3 * (kCluster / 2);
      const uint64_t length = 1 + random() % 9;
      for (uint64_t i = 0; i < length && entries.size() < of.l2_entries(); ++i) {
        entries.emplace_back(word + i * step, bitmap);
      }
    }
    const auto table = table_with(entries, of);
    for (uint32_t index = 0; index < of.l2_entries();) {
      const L2Stretch found = entries_alike(table, index, of);
      for (uint32_t i = 0; i < found.count; ++i) {
        EXPECT_EQ(found.entry(i), entries[index + i]);
        EXPECT_EQ(found.entry(i).problem(of), found.first.problem(of));
        EXPECT_EQ(found.entry(i).has_offset(of), found.first.has_offset(of));
        EXPECT_EQ(found.entry(i).offset() - found.first.offset(), i * found.step);
      }
      index += found.count;
    }
  }
}

}  // namespace
}  // namespace byre::qcow2
