// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/entry_repair.h"

#include <gtest/gtest.h>

namespace byre::qcow2 {
namespace {

using layout::L1Entry;
using layout::L2Entry;

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kFileSize = 100 * kCluster;
constexpr uint64_t kOutside = 100 * kCluster;
constexpr uint64_t kUnaligned = 5 * kCluster + 512;

layout::Header header_of(uint32_t version, bool extended_l2 = false, bool backing = false) {
  layout::Header header;
  header.version = version;
  if (extended_l2) header.incompatible_features |= layout::incompatible::kExtendedL2;
  if (backing) header.backing_file_offset = 200;
  return header;
}

// Repaired by a repair that gives up what is past the end of the file.
std::optional<L2Entry> repaired(const layout::Header& header, uint64_t word, uint64_t bitmap = 0) {
  return EntryRepair(header, kFileSize, true).repaired(L2Entry(word, bitmap));
}

// Repaired by one that does not.
std::optional<L2Entry> kept(const layout::Header& header, uint64_t word, uint64_t bitmap = 0) {
  return EntryRepair(header, kFileSize, false).repaired(L2Entry(word, bitmap));
}

TEST(EntryRepair, EntriesInTheFileStay) {
  const layout::Header header = header_of(3);
  for (const uint64_t word :
       {uint64_t{0}, 5 * kCluster | L2Entry::kCopied, 5 * kCluster | L2Entry::kZero, 99 * kCluster,
        L2Entry::kZero, L2Entry::kCompressed | 100, 5 * kCluster | 0x1fe}) {
    EXPECT_EQ(repaired(header, word), std::nullopt) << std::hex << word;
  }
}

TEST(EntryRepair, WhatMayYetArriveStays) {
  EXPECT_EQ(kept(header_of(3), kOutside | L2Entry::kCopied), std::nullopt);
  EXPECT_EQ(kept(header_of(2), kOutside), std::nullopt);
  EXPECT_EQ(kept(header_of(3, true), kOutside | L2Entry::kCopied, 0x0000000f000000f0),
            std::nullopt);
  const EntryRepair repair(header_of(3), kFileSize, false);
  EXPECT_EQ(repair.repaired(L1Entry(kOutside | L1Entry::kCopied)), std::nullopt);
}

TEST(EntryRepair, ZeroesPastTheEndLoseTheOffsetInAnyCase) {
  EXPECT_EQ(kept(header_of(3), kOutside | L2Entry::kZero), L2Entry(L2Entry::kZero));
  EXPECT_EQ(kept(header_of(3, true), kOutside, uint64_t{6} << 32), L2Entry(0, uint64_t{6} << 32));
}

TEST(EntryRepair, AClusterPastTheEndBecomesZeroes) {
  EXPECT_EQ(repaired(header_of(3), kOutside | L2Entry::kCopied), L2Entry(L2Entry::kZero));
  EXPECT_EQ(repaired(header_of(3), kOutside | L2Entry::kZero), L2Entry(L2Entry::kZero));
  EXPECT_EQ(repaired(header_of(3), L2Entry::kOffsetMask & ~(kCluster - 1)),
            L2Entry(L2Entry::kZero));
}

TEST(EntryRepair, AClusterThatIsPartlyPastTheEndStays) {
  const EntryRepair repair(header_of(3), kFileSize + 1, true);
  EXPECT_EQ(repair.repaired(L2Entry(kOutside)), std::nullopt);
}

TEST(EntryRepair, SubclustersPastTheEndBecomeZeroesAndOthersStay) {
  EXPECT_EQ(repaired(header_of(3, true), kOutside | L2Entry::kCopied, 0x0000000f000000f0),
            L2Entry(0, 0x000000ff00000000));
  EXPECT_EQ(repaired(header_of(3, true), kOutside, 0x000000f0000000f0), std::nullopt);
}

TEST(EntryRepair, Version2CannotHideABackingFileWithZeroes) {
  EXPECT_EQ(repaired(header_of(2), kOutside), L2Entry());
  EXPECT_EQ(repaired(header_of(2, false, true), kOutside), std::nullopt);
}

TEST(EntryRepair, DataAtAnImpossibleOffsetStays) {
  EXPECT_EQ(repaired(header_of(3), kUnaligned), std::nullopt);
  EXPECT_EQ(repaired(header_of(3, true), kUnaligned, 1), std::nullopt);
}

TEST(EntryRepair, ZeroesAtAnImpossibleOffsetLoseTheOffset) {
  EXPECT_EQ(repaired(header_of(3), kUnaligned | L2Entry::kZero), L2Entry(L2Entry::kZero));
  EXPECT_EQ(repaired(header_of(3, true), kUnaligned, uint64_t{6} << 32),
            L2Entry(0, uint64_t{6} << 32));
  EXPECT_EQ(repaired(header_of(2), kUnaligned | L2Entry::kZero), std::nullopt);
}

TEST(EntryRepair, ACompressedClusterLosesTheCopiedFlag) {
  const uint64_t word = L2Entry::kCompressed | 100;
  EXPECT_EQ(repaired(header_of(3), word | L2Entry::kCopied), L2Entry(word));
}

TEST(EntryRepair, GuestClustersInADataFileStay) {
  layout::Header header = header_of(3);
  header.incompatible_features |= layout::incompatible::kExternalDataFile;
  EXPECT_EQ(repaired(header, kOutside | L2Entry::kCopied), std::nullopt);
  EXPECT_EQ(repaired(header, L2Entry::kCompressed | L2Entry::kCopied), std::nullopt);
}

TEST(EntryRepair, ATablePastTheEndIsRemoved) {
  const EntryRepair repair(header_of(3), kFileSize, true);
  EXPECT_EQ(repair.repaired(L1Entry(kOutside | L1Entry::kCopied)), L1Entry());
  EXPECT_EQ(repair.repaired(L1Entry(99 * kCluster)), std::nullopt);
  EXPECT_EQ(repair.repaired(L1Entry(kOutside + 512)), std::nullopt);
  EXPECT_EQ(repair.repaired(L1Entry()), std::nullopt);
}

}  // namespace
}  // namespace byre::qcow2
