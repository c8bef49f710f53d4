// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/l2_entry.h"

#include <gtest/gtest.h>

#include "samples.h"

namespace byre::qcow2::layout {
namespace {

constexpr uint64_t kCopied = L2Entry::kCopied;
constexpr uint64_t kOffset = 0x50000;

ClusterKind kind(uint64_t word, const Geometry& geometry) {
  return L2Entry(word).kind(geometry);
}

TEST(L2Entry, StandardEntriesAreOneOfFiveKinds) {
  const Geometry v3 = sample_geometry(16);
  EXPECT_EQ(kind(0, v3), ClusterKind::kUnallocated);
  EXPECT_EQ(kind(1, v3), ClusterKind::kZeroPlain);
  EXPECT_EQ(kind(kOffset | 1, v3), ClusterKind::kZeroAllocated);
  EXPECT_EQ(kind(kOffset | kCopied, v3), ClusterKind::kNormal);
  EXPECT_EQ(kind(kOffset, v3), ClusterKind::kNormal);
  EXPECT_EQ(kind(L2Entry::kCompressed | kOffset, v3), ClusterKind::kCompressed);
}

TEST(L2Entry, Version2HasNoZeroFlag) {
  const Geometry v2 = sample_geometry(16, false, false, 2);
  for (const uint64_t word : {uint64_t{1}, kOffset | 1, kOffset | 0x201}) {
    EXPECT_EQ(kind(word, v2), ClusterKind::kInvalid);
    EXPECT_EQ(L2Entry(word).problem(v2), L2Problem::kZeroFlagInVersion2);
  }
  EXPECT_EQ(kind(kOffset, v2), ClusterKind::kNormal);
  EXPECT_DEATH(L2Entry::zero_plain(v2), "");
}

// "The offset may only be 0 with bit 63 set ... when an external data file is used."
TEST(L2Entry, OffsetZeroWithTheCopiedBitIsValidInAnExternalDataFileOnly) {
  const Geometry inside = sample_geometry(16);
  const Geometry outside = sample_geometry(16, false, true);
  EXPECT_EQ(kind(kCopied, inside), ClusterKind::kUnallocated);
  EXPECT_EQ(kind(kCopied, outside), ClusterKind::kNormal);
  EXPECT_EQ(kind(kCopied | 1, outside), ClusterKind::kZeroAllocated);
  EXPECT_EQ(kind(0, outside), ClusterKind::kUnallocated);
  EXPECT_EQ(kind(1, outside), ClusterKind::kZeroPlain);
  EXPECT_TRUE(L2Entry(kCopied).has_offset(outside));
  EXPECT_FALSE(L2Entry(kCopied).has_offset(inside));
}

TEST(L2Entry, AnExternalDataFileHasNoCompressedClusters) {
  const Geometry outside = sample_geometry(16, false, true);
  EXPECT_EQ(kind(L2Entry::kCompressed | kOffset, outside), ClusterKind::kInvalid);
  EXPECT_EQ(L2Entry(L2Entry::kCompressed).problem(outside), L2Problem::kCompressedInDataFile);
}

TEST(L2Entry, AnOffsetThatIsNotAtAClusterIsInvalid) {
  for (uint32_t bits = 10; bits <= 21; ++bits) {
    const Geometry geometry = sample_geometry(bits);
    EXPECT_EQ(L2Entry(512).problem(geometry), L2Problem::kUnaligned);
    EXPECT_EQ(L2Entry(512 | 1).problem(geometry), L2Problem::kUnaligned);
    EXPECT_EQ(kind(uint64_t{1} << bits, geometry), ClusterKind::kNormal);
  }
}

TEST(L2Entry, ReservedBitsAreReportedButDoNotChangeTheKind) {
  const Geometry v3 = sample_geometry(16);
  for (uint32_t bit = 0; bit < 64; ++bit) {
    const uint64_t word = uint64_t{1} << bit;
    const bool reserved = (bit >= 1 && bit <= 8) || (bit >= 56 && bit <= 61);
    if (bit != 62) {
      EXPECT_EQ(L2Entry(word).reserved_bits(v3), reserved ? word : 0) << bit;
    }
    if (reserved) {
      EXPECT_EQ(kind(word | kOffset, v3), ClusterKind::kNormal) << bit;
    }
  }
}

// Entries that qemu-img convert -c wrote: two consecutive clusters each.
TEST(L2Entry, QemusCompressedDescriptorsAreRead) {
  struct Case {
    uint32_t cluster_bits;
    uint64_t word, offset, size;
  };
  const Case cases[] = {
      {9, 0x4000000000000a00, 0xa00, 0x200},        {9, 0x6000000000000b26, 0xb26, 0x2da},
      {12, 0x5000000000005000, 0x5000, 0xa00},      {12, 0x5000000000005866, 0x5866, 0x99a},
      {16, 0x5000000000050000, 0x50000, 0x8200},    {16, 0x504000000005808e, 0x5808e, 0x8372},
      {21, 0x5032000000a00000, 0xa00000, 0x103400}, {21, 0x5018000000b033cc, 0xb033cc, 0x101834},
  };
  for (const Case& c : cases) {
    const Geometry geometry = sample_geometry(c.cluster_bits);
    const CompressedRange range = L2Entry(c.word).compressed_range(geometry);
    EXPECT_EQ(kind(c.word, geometry), ClusterKind::kCompressed);
    EXPECT_EQ(range.offset.value(), c.offset);
    EXPECT_EQ(range.size, c.size);
    EXPECT_EQ((range.offset.value() + range.size) % kSectorSize, 0u);
    EXPECT_EQ(
        L2Entry::compressed(range.offset, std::min(range.size, geometry.cluster_size()), geometry)
                .word() &
            geometry.compressed_offset_mask(),
        c.offset);
    if (range.size <= geometry.cluster_size()) {
      EXPECT_EQ(L2Entry::compressed(range.offset, range.size, geometry).word(), c.word);
    }
  }
}

TEST(L2Entry, CompressedDescriptorsOfEveryClusterSizeComeBack) {
  for (uint32_t bits = 9; bits <= 21; ++bits) {
    const Geometry geometry = sample_geometry(bits);
    const uint64_t end = geometry.compressed_offset_end();
    for (const uint64_t size : {uint64_t{1}, uint64_t{511}, uint64_t{512},
                                geometry.cluster_size() - 1, geometry.cluster_size()}) {
      for (const uint64_t offset :
           {uint64_t{1}, uint64_t{511}, uint64_t{512}, (end >> 1) + 77, end - size}) {
        const L2Entry entry = L2Entry::compressed(HostOffset(offset), size, geometry);
        const CompressedRange range = entry.compressed_range(geometry);
        EXPECT_EQ(entry.kind(geometry), ClusterKind::kCompressed);
        EXPECT_EQ(entry.reserved_bits(geometry), 0u);
        EXPECT_FALSE(entry.copied());
        EXPECT_EQ(range.offset.value(), offset);
        EXPECT_GE(range.size, size);
        EXPECT_LT(range.size, size + kSectorSize);
        EXPECT_LE(range.size, 2 * geometry.cluster_size());
      }
    }
    EXPECT_DEATH(L2Entry::compressed(HostOffset(end), 1, geometry), "");
    EXPECT_DEATH(L2Entry::compressed(HostOffset(512), geometry.cluster_size() + 1, geometry), "");
  }
}

// "If cluster_bits is small enough that this field includes bits beyond 55, those upper bits must
// be set to 0."
TEST(L2Entry, CompressedOffsetsBeyond56BitsAreInvalid) {
  for (uint32_t bits = 9; bits <= 13; ++bits) {
    const Geometry geometry = sample_geometry(bits);
    const L2Entry entry(L2Entry::kCompressed | (uint64_t{1} << 56));
    EXPECT_EQ(entry.problem(geometry), L2Problem::kCompressedOffset) << bits;
    EXPECT_EQ(entry.kind(geometry), ClusterKind::kInvalid);
    EXPECT_EQ(entry.reserved_bits(geometry), uint64_t{1} << 56);
    EXPECT_EQ(kind(L2Entry::kCompressed | (uint64_t{1} << 55), geometry), ClusterKind::kCompressed);
  }
  // From 2^14 on, bit 56 counts sectors.
  EXPECT_EQ(kind(L2Entry::kCompressed | (uint64_t{1} << 56), sample_geometry(14)),
            ClusterKind::kCompressed);
}

TEST(L2Entry, TablesHoldEntriesOfEightOrSixteenBytes) {
  const Geometry standard = sample_geometry(14);
  const Geometry extended = sample_geometry(14, true);
  std::vector<uint8_t> table(64);
  const L2Entry entry(0x8000000000050000, 0x1234);
  entry.store(table, 1, standard);
  EXPECT_EQ(table[8], 0x80);
  EXPECT_EQ(L2Entry::load(table, 1, standard), L2Entry(entry.word()));
  entry.store(table, 1, extended);
  EXPECT_EQ(table[16], 0x80);
  EXPECT_EQ(table[31], 0x34);
  EXPECT_EQ(L2Entry::load(table, 1, extended), entry);
  EXPECT_DEATH(L2Entry::load(table, 8, standard), "");
  EXPECT_DEATH(entry.store(table, 4, extended), "");
}

TEST(L2Entry, EverySubclusterOfAnExtendedEntryHasItsKind) {
  const Geometry geometry = sample_geometry(16, true);
  struct Case {
    uint64_t word;
    bool allocated, zero;
    SubclusterKind kind;
  };
  const Case cases[] = {
      {0, false, false, SubclusterKind::kUnallocatedPlain},
      {0, false, true, SubclusterKind::kZeroPlain},
      {0, true, false, SubclusterKind::kInvalid},
      {0, true, true, SubclusterKind::kInvalid},
      {kOffset, false, false, SubclusterKind::kUnallocatedAllocated},
      {kOffset, false, true, SubclusterKind::kZeroAllocated},
      {kOffset, true, false, SubclusterKind::kNormal},
      {kOffset, true, true, SubclusterKind::kInvalid},
  };
  for (const Case& c : cases) {
    for (uint32_t i = 0; i < 32; ++i) {
      const uint64_t bitmap = (uint64_t{c.allocated} << i) | (uint64_t{c.zero} << (32 + i));
      const L2Entry entry(c.word, bitmap);
      EXPECT_EQ(entry.subcluster(i, geometry), c.kind) << i;
      const bool invalid = c.kind == SubclusterKind::kInvalid;
      EXPECT_EQ(entry.kind(geometry) == ClusterKind::kInvalid, invalid);
      // The others do not change.
      if (!invalid) {
        EXPECT_EQ(entry.run(i, geometry).count, c.allocated || c.zero ? 1u : 32 - i);
      }
    }
  }
}

TEST(L2Entry, ProblemsOfExtendedEntriesHaveTheirReason) {
  const Geometry geometry = sample_geometry(16, true);
  EXPECT_EQ(L2Entry(0, 1).problem(geometry), L2Problem::kAllocatedWithoutOffset);
  EXPECT_EQ(L2Entry(kCopied, 1).problem(geometry), L2Problem::kAllocatedWithoutOffset);
  EXPECT_EQ(L2Entry(kOffset, 0x100000001).problem(geometry), L2Problem::kAllocatedAndZero);
  EXPECT_EQ(L2Entry(kOffset | 512, 0).problem(geometry), L2Problem::kUnaligned);
  EXPECT_EQ(L2Entry(kOffset | 512, 0).subcluster(3, geometry), SubclusterKind::kInvalid);
  EXPECT_EQ(L2Entry(kOffset | 512, 0).run(3, geometry).count, 29u);
  // An external data file has a first cluster, at offset 0.
  EXPECT_EQ(L2Entry(kCopied, 1).kind(sample_geometry(16, true, true)), ClusterKind::kNormal);
  // QEMU ignores bit 0 of an extended entry.
  EXPECT_EQ(L2Entry(kOffset | 1, L2Entry::kAllAllocated).subcluster(0, geometry),
            SubclusterKind::kNormal);
  for (const L2Problem problem :
       {L2Problem::kNone, L2Problem::kUnaligned, L2Problem::kZeroFlagInVersion2,
        L2Problem::kAllocatedWithoutOffset, L2Problem::kAllocatedAndZero,
        L2Problem::kCompressedOffset, L2Problem::kCompressedInDataFile}) {
    EXPECT_STRNE(to_string(problem), "unknown");
  }
}

TEST(L2Entry, ACompressedClusterHasNoSubclusters) {
  const Geometry geometry = sample_geometry(16, true);
  const L2Entry entry(L2Entry::kCompressed | kOffset, 5);
  EXPECT_EQ(entry.subcluster(31, geometry), SubclusterKind::kCompressed);
  EXPECT_EQ(entry.run(0, geometry).count, 32u);
  EXPECT_EQ(entry.reserved_bitmap_bits(geometry), 5u);
  EXPECT_EQ(L2Entry(kOffset, 5).reserved_bitmap_bits(geometry), 0u);
}

TEST(L2Entry, RunsAgreeWithSingleSubclusters) {
  const Geometry geometry = sample_geometry(16, true);
  uint64_t state = 88172645463325252u;  // xorshift: any bits
  for (int round = 0; round < 2000; ++round) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    // Long runs: each byte of the pattern is widened to all ones or none.
    uint64_t bitmap = state;
    if (round % 2 == 0) bitmap &= (state << 1) & (state << 2);
    const L2Entry entry(round % 3 == 0 ? 0 : kOffset, bitmap);
    for (uint32_t i = 0; i < 32;) {
      const SubclusterRun run = entry.run(i, geometry);
      ASSERT_GE(run.count, 1u);
      ASSERT_LE(i + run.count, 32u);
      for (uint32_t j = i; j < i + run.count; ++j)
        ASSERT_EQ(entry.subcluster(j, geometry), run.kind);
      i += run.count;
    }
  }
}

TEST(L2Entry, FactoriesGiveEntriesOfTheirKind) {
  for (const bool extended : {false, true}) {
    const Geometry geometry = sample_geometry(16, extended);
    const HostOffset offset(kOffset);
    const L2Entry normal = L2Entry::normal(offset, true, geometry);
    EXPECT_EQ(normal.run(0, geometry).kind, SubclusterKind::kNormal);
    EXPECT_EQ(normal.run(0, geometry).count, geometry.subclusters_per_cluster());
    EXPECT_TRUE(normal.copied());
    EXPECT_EQ(normal.with_copied(false).word(), kOffset);
    EXPECT_EQ(normal.with_copied(false).bitmap(), normal.bitmap());
    const L2Entry zero = L2Entry::zero_allocated(offset, false, geometry);
    EXPECT_EQ(zero.run(0, geometry).kind, SubclusterKind::kZeroAllocated);
    EXPECT_EQ(zero.run(0, geometry).count, geometry.subclusters_per_cluster());
    EXPECT_EQ(zero.offset(), offset);
    EXPECT_EQ(L2Entry::zero_plain(geometry).run(0, geometry).kind, SubclusterKind::kZeroPlain);
    EXPECT_EQ(L2Entry().run(0, geometry).kind, SubclusterKind::kUnallocatedPlain);
  }
  const Geometry standard = sample_geometry(16);
  EXPECT_EQ(L2Entry(kOffset | 1).subcluster(0, standard), SubclusterKind::kZeroAllocated);
  EXPECT_EQ(L2Entry(kOffset | 0x200).subcluster(0, standard), SubclusterKind::kInvalid);
}

TEST(L2Entry, ChangingSomeSubclustersLeavesTheOthers) {
  const L2Entry all = L2Entry(kOffset, L2Entry::kAllAllocated);
  EXPECT_EQ(all.with_subclusters_zero(0, 32).bitmap(), L2Entry::kAllZero);
  EXPECT_EQ(all.with_subclusters_unallocated(0, 32).bitmap(), 0u);
  EXPECT_EQ(L2Entry(kOffset, L2Entry::kAllZero).with_subclusters_allocated(0, 32).bitmap(),
            L2Entry::kAllAllocated);
  EXPECT_EQ(all.with_subclusters_zero(4, 2).bitmap(), 0x00000030ffffffcfu);
  EXPECT_EQ(all.with_subclusters_unallocated(31, 1).bitmap(), 0x7fffffffu);
  EXPECT_EQ(all.with_subclusters_zero(4, 0), all);
  EXPECT_DEATH(all.with_subclusters_zero(31, 2), "");
}

}  // namespace
}  // namespace byre::qcow2::layout
