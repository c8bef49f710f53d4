// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/l1_entry.h"

#include <gtest/gtest.h>

#include "samples.h"

namespace byre::qcow2::layout {
namespace {

TEST(L1Entry, QemusEntryForAnL2TableIsRead) {
  const L1Entry entry(0x8000000000040000);
  EXPECT_EQ(entry.kind(sample_geometry(16)), L1Kind::kTable);
  EXPECT_EQ(entry.offset(), HostOffset(0x40000));
  EXPECT_TRUE(entry.copied());
  EXPECT_EQ(L1Entry::table(HostOffset(0x40000), true), entry);
  EXPECT_EQ(entry.with_copied(false).word(), 0x40000u);
  EXPECT_EQ(entry.with_copied(false).with_copied(true), entry);
}

TEST(L1Entry, WithoutAnOffsetThereIsNoTableWhateverTheCopiedBit) {
  EXPECT_EQ(L1Entry().kind(sample_geometry(16)), L1Kind::kUnallocated);
  EXPECT_EQ(L1Entry(L1Entry::kCopied).kind(sample_geometry(16)), L1Kind::kUnallocated);
}

TEST(L1Entry, ATableThatIsNotAtAClusterIsInvalid) {
  for (uint32_t bits = 10; bits <= 21; ++bits) {
    EXPECT_EQ(L1Entry(512).kind(sample_geometry(bits)), L1Kind::kInvalid);
    EXPECT_EQ(L1Entry(uint64_t{1} << bits).kind(sample_geometry(bits)), L1Kind::kTable);
  }
  EXPECT_EQ(L1Entry(512).kind(sample_geometry(9)), L1Kind::kTable);
}

TEST(L1Entry, EachBitIsOffsetOrFlagOrReserved) {
  for (uint32_t bit = 0; bit < 64; ++bit) {
    const L1Entry entry(uint64_t{1} << bit);
    const bool reserved = bit <= 8 || (bit >= 56 && bit <= 62);
    EXPECT_EQ(entry.reserved_bits(), reserved ? entry.word() : 0) << bit;
    EXPECT_EQ(entry.offset().value(), bit >= 9 && bit <= 55 ? entry.word() : 0) << bit;
    EXPECT_EQ(entry.copied(), bit == 63) << bit;
  }
}

}  // namespace
}  // namespace byre::qcow2::layout
