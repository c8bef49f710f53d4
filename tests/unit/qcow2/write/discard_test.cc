// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 65536;

// Discards and zeroes, and how the options affect them. QEMU's behaviour was determined with
// qemu-io and qemu-img map.
class Discard : public WritingTest {
 protected:
  std::vector<Extent> extents_of(uint64_t offset, uint64_t length) {
    return loop_.run(image().extents(offset, length, ExtentScope::kLayer));
  }
  // The single extent of a range that should be uniform.
  Extent extent(uint64_t offset, uint64_t length) {
    const std::vector<Extent> all = extents_of(offset, length);
    EXPECT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].length, length);
    return all[0];
  }
  void expect_zero(uint64_t offset, uint64_t length, bool has_place) {
    const Extent found = extent(offset, length);
    EXPECT_TRUE(found.present && found.zero && !found.data);
    EXPECT_EQ(found.host_offset.has_value(), has_place);
    EXPECT_EQ(read(offset, length), std::vector<uint8_t>(length));
  }
  void expect_data(uint64_t offset, const std::vector<uint8_t>& bytes) {
    EXPECT_TRUE(extent(offset, bytes.size()).data);
    EXPECT_EQ(read(offset, bytes.size()), bytes);
  }
  uint64_t discards() { return file_count(faults::Operation::kDiscard); }
};

Layout over_backing(int version) {
  Layout layout = layout_of(16 * kCluster, kCluster);
  layout.create.version = version;
  layout.create.backing_filename = "backing";
  layout.create.backing_format = "raw";
  layout.backing_size = 8 * kCluster;
  return layout;
}

OpenOptions with_discard(DiscardPolicy discard) {
  OpenOptions options = for_writing();
  options.policy.discard = discard;
  return options;
}

TEST_F(Discard, WholeClustersReadAsZeroesAndPartsStayAsTheyAre) {
  open(layout_of(16 * kCluster, kCluster));
  const std::vector<uint8_t> bytes = pattern(0, 4 * kCluster, 1);
  write(0, bytes);
  discard(100, 3 * kCluster);
  expect_zero(kCluster, 2 * kCluster, false);
  EXPECT_EQ(read(0, kCluster), pattern(0, kCluster, 1));
  EXPECT_EQ(read(3 * kCluster, kCluster), pattern(3 * kCluster, kCluster, 1));
  discard(8 * kCluster, 2 * kCluster);  // nothing there
  EXPECT_FALSE(extent(8 * kCluster, 2 * kCluster).present);
  close_and_check();
}

TEST_F(Discard, APartialLastClusterIsDiscardedWithTheEndOfTheDisk) {
  open(layout_of(kCluster + 4096, kCluster));
  write(kCluster, pattern(0, 4096, 1));
  discard(kCluster, 2048);
  EXPECT_EQ(read(kCluster, 4096), pattern(0, 4096, 1));
  discard(kCluster, 4096);
  expect_zero(kCluster, 4096, false);
  close_and_check();
}

TEST_F(Discard, TheBackingFileIsHiddenEvenIfNothingIsAllocated) {
  open(over_backing(3));
  write(0, pattern(0, kCluster, 1));
  discard(0, 3 * kCluster);
  expect_zero(0, 3 * kCluster, false);
  discard(10 * kCluster, kCluster);  // past the backing file, as in QEMU
  expect_zero(10 * kCluster, kCluster, false);
  close_and_check();
}

TEST_F(Discard, ATableIsCreatedForRangesThatOnlyTheBackingFileHas) {
  Layout layout = over_backing(3);
  layout.create.size = 2 * 512 * kMiB;
  open(layout);
  discard(2 * kCluster, kCluster);
  expect_zero(2 * kCluster, kCluster, false);
  EXPECT_EQ(parts().tables.l1.entry(1), 0u);
  close_and_check();
}

// Also past the end of the backing file, as in QEMU.
TEST_F(Discard, VersionTwoWithABackingFileKeepsItsBytes) {
  open(over_backing(2));
  const std::vector<uint8_t> bytes = pattern(0, kCluster, 1);
  write(0, bytes);
  discard(0, kCluster);
  expect_data(0, bytes);
  write(8 * kCluster, bytes);  // past the backing file: the same
  discard(8 * kCluster, kCluster);
  expect_data(8 * kCluster, bytes);
  zero(0, kCluster, WriteFlags::kMayUnmap);
  EXPECT_EQ(read(0, kCluster), std::vector<uint8_t>(kCluster));
  EXPECT_TRUE(extent(0, kCluster).data);
  close_and_check();
}

TEST_F(Discard, ZeroesInVersionTwoFreeClustersWithOrWithoutUnmapping) {
  Layout layout = layout_of(kMiB, kCluster);
  layout.create.version = 2;
  open(layout);
  write(0, pattern(0, 3 * kCluster, 1));
  zero(0, kCluster, WriteFlags::kNone);
  zero(kCluster, kCluster, WriteFlags::kMayUnmap);
  EXPECT_FALSE(extent(0, 2 * kCluster).present);
  zero(2 * kCluster, 4096, WriteFlags::kMayUnmap);
  EXPECT_TRUE(extent(2 * kCluster, kCluster).data);
  EXPECT_EQ(read(0, 2 * kCluster + 4096), std::vector<uint8_t>(2 * kCluster + 4096));
  close_and_check();
}

TEST_F(Discard, ZeroesKeepTheirClusterUnlessTheyMayUnmapAndDiscardsAreOn) {
  for (const DiscardPolicy policy : {DiscardPolicy::kUnmap, DiscardPolicy::kIgnore}) {
    open(layout_of(kMiB, kCluster), with_discard(policy));
    write(0, pattern(0, 4 * kCluster, 1));
    zero(0, kCluster, WriteFlags::kNone);
    zero(kCluster, kCluster, WriteFlags::kMayUnmap);
    discard(2 * kCluster, kCluster);
    expect_zero(0, kCluster, true);
    expect_zero(kCluster, kCluster, policy == DiscardPolicy::kIgnore);
    if (policy == DiscardPolicy::kIgnore) {
      expect_data(2 * kCluster, pattern(2 * kCluster, kCluster, 1));
    } else {
      expect_zero(2 * kCluster, kCluster, false);
    }
    close_and_check();
  }
}

TEST_F(Discard, DetectedZeroesBecomeZeroClusters) {
  OpenOptions options = for_writing();
  for (const DetectZeroes detect : {DetectZeroes::kOff, DetectZeroes::kOn, DetectZeroes::kUnmap}) {
    options.policy.detect_zeroes = detect;
    open(layout_of(kMiB, kCluster), options);
    write(0, pattern(0, 2 * kCluster, 1));
    const std::vector<uint8_t> zeroes(2 * kCluster);
    write(0, zeroes);
    write(4 * kCluster, zeroes, WriteFlags::kCompressed);
    if (detect == DetectZeroes::kOff) {
      expect_data(0, zeroes);
      EXPECT_TRUE(extents_of(4 * kCluster, kCluster)[0].compressed);
    } else {
      expect_zero(0, 2 * kCluster, detect == DetectZeroes::kOn);
      expect_zero(4 * kCluster, 2 * kCluster, false);
    }
    close_and_check();
  }
}

TEST_F(Discard, FreedClustersAreDiscardedInTheFileIfTheOptionsSaySoAndOnlyWhenSafe) {
  struct Case {
    std::optional<bool> request;
    std::optional<bool> other;
    uint64_t after_discard;
    uint64_t after_overwrite;
  };
  for (const Case& each : {Case{{}, {}, 1, 0}, Case{false, {}, 0, 0}, Case{false, true, 0, 1},
                           Case{true, true, 1, 1}}) {
    OpenOptions options = for_writing();
    options.pass_discard.request = each.request;
    options.pass_discard.other = each.other;
    open(layout_of(kMiB, kCluster), options);
    write(0, pattern(0, 2 * kCluster, 1));
    const std::vector<uint8_t> packed = compressible(0, kCluster, 1);
    write(4 * kCluster, packed, WriteFlags::kCompressed);
    flush();
    const uint64_t place = *extent(0, 2 * kCluster).host_offset;
    discard(0, 2 * kCluster);
    EXPECT_EQ(discards(), 0u);  // the reference is still on disk
    opened_.file->clear_events();
    flush();
    EXPECT_EQ(discards(), each.after_discard);
    if (each.after_discard > 0) {
      const faults::FaultEvent& last = opened_.file->events().back();
      EXPECT_EQ(last.operation, faults::Operation::kDiscard);
      EXPECT_EQ(last.offset, place);
      EXPECT_EQ(last.length, 2 * kCluster);
    }
    const uint64_t before = discards();
    write(4 * kCluster, pattern(0, kCluster, 5));  // over the compressed cluster
    flush();
    EXPECT_EQ(discards() - before, each.after_overwrite);
    close_and_check();
  }
}

TEST_F(Discard, AClusterThatOtherCompressedDataSharesIsNotDiscarded) {
  OpenOptions options = for_writing();
  options.pass_discard.other = true;
  open(layout_of(kMiB, kCluster), options);
  const std::vector<uint8_t> packed = compressible(0, 2 * kCluster, 1);
  write(0, packed, WriteFlags::kCompressed);
  discard(0, kCluster);
  flush();
  EXPECT_EQ(discards(), 0u);
  EXPECT_EQ(read(kCluster, kCluster),
            std::vector<uint8_t>(packed.begin() + kCluster, packed.end()));
  discard(kCluster, kCluster);
  flush();
  EXPECT_EQ(discards(), 1u);
  close_and_check();
}

TEST_F(Discard, AFailedDiscardOfTheFileIsIgnored) {
  open(layout_of(kMiB, kCluster));
  write(0, pattern(0, kCluster, 1));
  flush();
  opened_.file->add_rule({.operation = faults::Operation::kDiscard, .count = UINT64_MAX});
  discard(0, kCluster);
  flush();
  EXPECT_EQ(discards(), 1u);
  write(kCluster, pattern(0, kCluster, 2));
  close_and_check();
}

TEST_F(Discard, WithDiscardNoUnrefClustersKeepTheirOffsetAndTheFileLosesTheirBytes) {
  OpenOptions options = for_writing();
  options.discard_no_unref = true;
  for (const bool extended : {false, true}) {
    Layout layout = layout_of(kMiB, kCluster);
    layout.create.extended_l2 = extended;
    open(layout, options);
    write(0, pattern(0, 3 * kCluster, 1));
    const uint64_t place = *extent(0, 3 * kCluster).host_offset;
    const std::vector<uint8_t> packed = compressible(0, kCluster, 1);
    write(8 * kCluster, packed, WriteFlags::kCompressed);
    zero(0, kCluster, WriteFlags::kMayUnmap);
    discard(kCluster, kCluster);
    discard(8 * kCluster, kCluster);
    expect_zero(0, 2 * kCluster, true);
    EXPECT_EQ(extent(0, 2 * kCluster).host_offset, place);
    expect_zero(8 * kCluster, kCluster, false);  // no offset to keep
    EXPECT_EQ(discards(), 0u);                   // the entries on disk still say "data"
    flush();
    EXPECT_EQ(discards(), 2u);  // both in one, and the compressed one's
    write(0, pattern(0, kCluster, 2));
    EXPECT_EQ(extent(0, kCluster).host_offset, place);
    close_and_check();
  }
}

TEST_F(Discard, SharedClustersOfASnapshotAreNotDiscardedInTheFile) {
  const Layout layout = layout_of(kMiB, kCluster);
  const std::vector<uint8_t> before = pattern(0, kMiB, 1);
  const Disks disks = shared_disks(layout, before);
  for (const bool no_unref : {false, true}) {
    OpenOptions options = for_writing();
    options.discard_no_unref = no_unref;
    options.pass_discard.other = true;
    open(clone(disks), layout, options);
    discard(0, kMiB);
    flush();
    EXPECT_EQ(read(0, kMiB), std::vector<uint8_t>(kMiB));
    close_and_check();
    EXPECT_EQ(read_snapshot(), before);
  }
}

TEST_F(Discard, ADataFileLosesTheBytesIfDiscardsArePassedOn) {
  for (const bool passed : {true, false}) {
    Layout layout = layout_of(kMiB, kCluster);
    layout.create.data_filename = "data";
    OpenOptions options = for_writing();
    options.pass_discard.request = passed;
    open(layout, options);
    write(0, pattern(0, 4 * kCluster, 1));
    zero(0, kCluster, WriteFlags::kNone);
    zero(kCluster, kCluster, WriteFlags::kMayUnmap);
    discard(2 * kCluster, kCluster);
    expect_zero(0, kCluster, true);
    expect_zero(kCluster, 2 * kCluster, false);
    EXPECT_EQ(opened_.data->count(faults::Operation::kDiscard), 0u);
    flush();
    EXPECT_EQ(opened_.data->count(faults::Operation::kDiscard), passed ? 1u : 0u);
    discard(8 * kCluster, kCluster);  // nothing there
    flush();
    EXPECT_EQ(opened_.data->count(faults::Operation::kDiscard), passed ? 1u : 0u);
    close_and_check();
  }
}

TEST_F(Discard, ARawDataFileReadsAsTheDiskAlsoAfterDiscards) {
  Layout layout = layout_of(3 * kCluster + 4096, kCluster);
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  open(layout);
  std::vector<uint8_t> expected = pattern(0, layout.create.size, 1);
  write(0, expected);
  discard(kCluster, layout.create.size - kCluster);
  zero(100, 1000, WriteFlags::kMayUnmap);
  std::fill(expected.begin() + kCluster, expected.end(), uint8_t{0});
  std::fill(expected.begin() + 100, expected.begin() + 1100, uint8_t{0});
  EXPECT_EQ(refusal([&] { zero(512, 512, WriteFlags::kNoFallback); }).kind(),
            ErrorKind::kUnsupported);
  EXPECT_EQ(read(0, layout.create.size), expected);
  EXPECT_EQ(opened_.data_memory->get(0, layout.create.size), expected);
  close_and_check();
}

TEST_F(Discard, ZeroesOfARawDataFileHideWhatABackingFileHas) {
  for (const bool extended : {false, true}) {
    Layout layout = layout_of(4 * kCluster, kCluster);
    layout.create.extended_l2 = extended;
    layout.create.data_filename = "data";
    layout.create.backing_filename = "backing";
    layout.create.backing_format = "raw";
    layout.backing_size = layout.create.size;
    Disks disks = make_disks(layout);
    // byre and QEMU refuse to create it: the bit of raw external data.
    const std::vector<uint8_t> autoclear = {2};
    sync_wait(disks.file->write(95, ConstBytes(autoclear)));
    open(std::move(disks), layout);
    std::vector<uint8_t> expected = backing_bytes(layout.create.size);
    zero(1000, 2 * kCluster, WriteFlags::kMayUnmap);
    std::fill_n(expected.begin() + 1000, 2 * kCluster, uint8_t{0});
    EXPECT_EQ(first_difference(read(0, layout.create.size), expected), std::nullopt);
    close_and_check();
  }
}

// Entries that refer to nothing new wait for nothing: one flush, not two.
TEST_F(Discard, OrZeroesWithAFlushCostOneFlushOfTheFile) {
  open(layout_of(kMiB, kCluster));
  write(0, pattern(0, 4 * kCluster, 1));
  flush();
  uint64_t flushes = file_count(faults::Operation::kFlush);
  zero(0, kCluster, WriteFlags::kNone);
  flush();
  EXPECT_EQ(file_count(faults::Operation::kFlush), flushes + 1);
  flushes = file_count(faults::Operation::kFlush);
  discard(kCluster, kCluster);
  flush();
  EXPECT_EQ(file_count(faults::Operation::kFlush), flushes + 1);
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
