// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/refcount_entry.h"

#include <gtest/gtest.h>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

constexpr const char* kBlocks[] = {golden::kRefcountBlock1,  golden::kRefcountBlock2,
                                   golden::kRefcountBlock4,  golden::kRefcountBlock8,
                                   golden::kRefcountBlock16, golden::kRefcountBlock32,
                                   golden::kRefcountBlock64};

TEST(RefcountEntry, QemusBlocksOfEveryWidthCountTheFirstFourClusters) {
  for (uint32_t order = 0; order <= 6; ++order) {
    const auto block = golden::from_hex(kBlocks[order], 512);
    std::vector<uint8_t> written(512);
    for (uint64_t i = 0; i < uint64_t{512 * 8} >> order; ++i) {
      EXPECT_EQ(load_refcount(block, i, order), i < 4 ? 1u : 0u) << order << " " << i;
      if (i < 4) store_refcount(written, i, order, 1);
    }
    EXPECT_EQ(written, block) << order;
  }
}

TEST(RefcountEntry, NarrowEntriesFillAByteFromItsLowestBit) {
  std::vector<uint8_t> block(8);
  store_refcount(block, 0, 0, 1);
  store_refcount(block, 9, 0, 1);
  EXPECT_EQ(block[0], 0x01);
  EXPECT_EQ(block[1], 0x02);
  store_refcount(block, 8, 1, 3);  // two bits each: the lowest two of byte 2
  EXPECT_EQ(block[2], 0x03);
  store_refcount(block, 7, 2, 0xa);  // four bits each: the upper half of byte 3
  EXPECT_EQ(block[3], 0xa0);
  store_refcount(block, 2, 4, 0x1234);
  EXPECT_EQ(block[4], 0x12);
  EXPECT_EQ(block[5], 0x34);
}

TEST(RefcountEntry, AStoreChangesItsEntryAlone) {
  for (uint32_t order = 0; order <= 6; ++order) {
    const uint64_t count = uint64_t{64 * 8} >> order;
    const uint64_t all_ones = ~uint64_t{0} >> (64 - (1u << order));
    for (const uint8_t fill : {0x00, 0xff}) {
      for (uint64_t i = 0; i < count; ++i) {
        std::vector<uint8_t> block(64, fill);
        const uint64_t value = fill == 0 ? all_ones : 0;
        store_refcount(block, i, order, value);
        for (uint64_t j = 0; j < count; ++j) {
          ASSERT_EQ(load_refcount(block, j, order), i == j ? value : all_ones - value);
        }
      }
    }
  }
}

TEST(RefcountEntry, RunsOfFreeEntriesEndAtTheFirstThatIsUsed) {
  for (uint32_t order = 0; order <= 6; ++order) {
    std::vector<uint8_t> block(512);
    const uint64_t count = uint64_t{512 * 8} >> order;
    EXPECT_EQ(count_free_refcounts(block, 0, count, order), count);
    const uint64_t used = count / 2 + 3;
    store_refcount(block, used, order, 1);
    for (uint64_t first = 0; first < count; first += 1 + first % 7) {
      const uint64_t expected = first <= used ? used - first : count - first;
      EXPECT_EQ(count_free_refcounts(block, first, count - first, order), expected);
    }
    EXPECT_EQ(count_free_refcounts(block, 1, 2, order), 2u);
    EXPECT_EQ(count_free_refcounts(block, 1, 0, order), 0u);
  }
}

TEST(RefcountEntry, RunsAreIncrementedUpToWhatIsFreeOrFull) {
  for (uint32_t order = 1; order <= 6; ++order) {
    const uint64_t refcount_max = ~uint64_t{0} >> (64 - (1u << order));
    for (const uint64_t end : {uint64_t{0}, refcount_max}) {
      std::vector<uint8_t> block(512);
      for (uint64_t i = 0; i < 30; ++i) store_refcount(block, i, order, 1 + i % 2);
      store_refcount(block, 20, order, end);
      std::vector<uint8_t> expected = block;
      for (uint64_t i = 3; i < 20; ++i) store_refcount(expected, i, order, 2 + i % 2);
      EXPECT_EQ(increment_refcounts(block, 3, 25, order), 17u) << order;
      EXPECT_EQ(block, expected) << order;
    }
  }
}

TEST(RefcountEntry, RunsAreDecrementedUpToTheLastReference) {
  for (uint32_t order = 2; order <= 6; ++order) {
    for (const uint64_t end : {0, 1}) {
      std::vector<uint8_t> block(512);
      for (uint64_t i = 0; i < 30; ++i) store_refcount(block, i, order, 3 + i % 2);
      store_refcount(block, 20, order, end);
      std::vector<uint8_t> expected = block;
      for (uint64_t i = 3; i < 20; ++i) store_refcount(expected, i, order, 2 + i % 2);
      bool reaches_one = false;
      EXPECT_EQ(decrement_refcounts(block, 3, 25, order, &reaches_one), 17u) << order;
      EXPECT_FALSE(reaches_one);
      EXPECT_EQ(block, expected) << order;
      EXPECT_EQ(decrement_refcounts(block, 3, 25, order, &reaches_one), 17u) << order;
      EXPECT_TRUE(reaches_one);
    }
  }
}

TEST(RefcountEntry, RunsOfSoleReferencesAndOfOthersAreCounted) {
  for (uint32_t order = 1; order <= 6; ++order) {
    std::vector<uint8_t> block(512);
    for (uint64_t i = 5; i < 12; ++i) store_refcount(block, i, order, 1);
    store_refcount(block, 12, order, 2);
    EXPECT_EQ(count_alike_refcounts(block, 1, 30, order), 4u) << order;
    EXPECT_EQ(count_alike_refcounts(block, 5, 30, order), 7u) << order;
    EXPECT_EQ(count_alike_refcounts(block, 5, 3, order), 3u) << order;
    EXPECT_EQ(count_alike_refcounts(block, 12, 18, order), 18u) << order;
  }
}

TEST(RefcountEntry, IndexesOutsideTheBlockAndValuesThatDoNotFitAreBugs) {
  std::vector<uint8_t> block(512);
  EXPECT_DEATH(load_refcount(block, 512, 3), "");
  EXPECT_DEATH(store_refcount(block, 4096, 0, 1), "");
  EXPECT_DEATH(increment_refcounts(block, 200, 57, 4), "");
  EXPECT_DEATH(store_refcount(block, 0, 0, 2), "");
  EXPECT_DEATH(store_refcount(block, 0, 4, 65536), "");
}

TEST(RefcountTableEntry, EachBitIsOffsetOrReserved) {
  for (uint32_t bit = 0; bit < 64; ++bit) {
    const RefcountTableEntry entry(uint64_t{1} << bit);
    EXPECT_EQ(entry.reserved_bits(), bit <= 8 ? entry.word() : 0) << bit;
    EXPECT_EQ(entry.offset().value(), bit >= 9 ? entry.word() : 0) << bit;
  }
}

TEST(RefcountTableEntry, ABlockStartsAtAClusterThatAFileCanHave) {
  const Geometry geometry = sample_geometry(16);
  EXPECT_EQ(RefcountTableEntry().kind(geometry), RefcountTableKind::kUnallocated);
  EXPECT_EQ(RefcountTableEntry::block(HostOffset(0x20000)).kind(geometry),
            RefcountTableKind::kBlock);
  EXPECT_EQ(RefcountTableEntry(0x20200).kind(geometry), RefcountTableKind::kInvalid);
  // More than 56 bits are valid here, unlike in L1 and L2 tables.
  EXPECT_EQ(RefcountTableEntry(uint64_t{1} << 60).kind(geometry), RefcountTableKind::kBlock);
  EXPECT_EQ(RefcountTableEntry(uint64_t{1} << 63).kind(geometry), RefcountTableKind::kInvalid);
}

}  // namespace
}  // namespace byre::qcow2::layout
