// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/check.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/qcow2/checked_image.h"

namespace byre::qcow2 {
namespace {

using test::Checked;
using test::CheckedImage;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kCopied = layout::L2Entry::kCopied;

void expect_corruptions(const CheckedImage& image, const std::vector<std::string>& texts) {
  const Checked checked = image.check();
  EXPECT_EQ(checked.texts(), texts);
  EXPECT_EQ(checked.result.corruptions, texts.size());
  EXPECT_EQ(checked.result.leaks, 0u);
  EXPECT_EQ(checked.result.check_errors, 0u);
}

std::string outside(uint64_t offset, uint64_t size) {
  return fmt::format("{} bytes at {:#x} are referred to, but are past the end of the file", size,
                     offset);
}

TEST(Checker, ASoundImageHasNoFindings) {
  for (const uint64_t refcount_bits : {1, 2, 4, 8, 16, 32, 64}) {
    CreateOptions options = CheckedImage::small_options();
    options.refcount_bits = refcount_bits;
    const CheckedImage image(options);
    const Checked checked = image.check();
    EXPECT_THAT(checked.texts(), IsEmpty()) << refcount_bits;
    EXPECT_EQ(checked.result.clusters.total, 16u);
    EXPECT_EQ(checked.result.clusters.allocated, 4u);
    EXPECT_EQ(checked.result.clusters.compressed, 1u);
    EXPECT_EQ(checked.result.clusters.fragmented, 1u);
  }
}

TEST(Checker, SoundImagesOfEveryKindHaveNoFindings) {
  CreateOptions options = CheckedImage::small_options();
  options.version = 2;
  EXPECT_THAT(CheckedImage(options).check().texts(), IsEmpty());
  options = CheckedImage::small_options();
  options.cluster_size = 16384;
  options.size = 1 << 20;
  options.extended_l2 = true;
  EXPECT_THAT(CheckedImage(options).check().texts(), IsEmpty());
  options.data_filename = "data";
  EXPECT_THAT(CheckedImage(options).check().texts(), IsEmpty());
}

TEST(Checker, TheImageEndsAfterTheLastClusterInUse) {
  CheckedImage image;
  const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
  EXPECT_EQ(image.check().result.image_end_offset, end);
  image.file().put(end + 3 * 4096, std::vector<uint8_t>(4096));
  EXPECT_EQ(image.check().result.image_end_offset, end);
}

TEST(Checker, ARefcountAboveTheReferencesIsALeak) {
  CheckedImage image;
  const uint64_t offset = image.append({1});
  const uint64_t cluster = image.cluster_of(offset);
  const Checked checked = image.check();
  EXPECT_THAT(checked.texts(),
              ElementsAre(fmt::format(
                  "cluster {} is leaked: its refcount is 1, it has 0 references", cluster)));
  EXPECT_EQ(checked.result.leaks, 1u);
  EXPECT_EQ(checked.result.corruptions, 0u);
  EXPECT_EQ(checked.result.image_end_offset, offset + 4096);
  EXPECT_EQ(checked.findings[0].kind, FindingKind::kLeakedCluster);
  EXPECT_EQ(checked.findings[0].offset, offset);
  EXPECT_EQ(checked.findings[0].refcount, 1u);
}

TEST(Checker, ARefcountBelowTheReferencesIsACorruptionAndBreaksTheCopiedFlag) {
  CheckedImage image;
  const uint64_t offset = image.data_offset(0);
  image.set_refcount(offset, 0);
  expect_corruptions(
      image,
      {fmt::format("cluster {} may be allocated again: its refcount is 0, it has 1 references",
                   image.cluster_of(offset)),
       fmt::format("the copied flag of L2 entry {:#x} is wrong: the refcount is 0",
                   offset | kCopied)});
}

TEST(Checker, AMissingCopiedFlagIsFoundEvenIfAllRefcountsAreRight) {
  CheckedImage image;
  const uint64_t l1 = image.word(image.l1_place(0));
  const uint64_t l2 = image.word(image.l2_place(1));
  image.put_word(image.l1_place(0), l1 & ~kCopied);
  image.put_word(image.l2_place(1), l2 & ~kCopied);
  expect_corruptions(
      image, {fmt::format("the copied flag of L1 entry 0, {:#x}, is wrong: the refcount is 1",
                          l1 & ~kCopied),
              fmt::format("the copied flag of L2 entry {:#x} is wrong: the refcount is 1",
                          l2 & ~kCopied)});
}

TEST(Checker, ACopiedFlagOnASharedClusterIsFoundEvenIfAllRefcountsAreRight) {
  CheckedImage image;
  const uint64_t entry = image.word(image.l2_place(0));
  image.put_word(image.l2_place(7), entry);
  image.set_refcount(image.data_offset(0), 2);
  const std::string text =
      fmt::format("the copied flag of L2 entry {:#x} is wrong: the refcount is 2", entry);
  expect_corruptions(image, {text, text});
}

TEST(Checker, WithADataFileEveryAllocatedClusterMustHaveTheCopiedFlag) {
  CreateOptions options = CheckedImage::small_options();
  options.data_filename = "data";
  CheckedImage image(options);
  image.put_word(image.l2_place(1), 4096);
  expect_corruptions(image, {"the copied flag of L2 entry 0x1000 is wrong: the refcount is 1"});
}

TEST(Checker, ReservedBitsOfL1AndL2EntriesAreReportedAndTheEntriesStillCount) {
  CheckedImage image;
  const uint64_t l1 = image.word(image.l1_place(0)) | uint64_t{1} << 57 | 5;
  const uint64_t l2 = image.word(image.l2_place(1)) | uint64_t{1} << 56 | 2;
  const uint64_t l2_place = image.l2_place(1);
  image.put_word(image.l1_place(0), l1);
  image.put_word(l2_place, l2);
  expect_corruptions(image, {fmt::format("L1 entry {:#x} has reserved bits set", l1),
                             fmt::format("L2 entry {:#x} has reserved bits set", l2)});
}

TEST(Checker, UnalignedDataAndPreallocatedClustersAreDistinguished) {
  CheckedImage image;
  const uint64_t data = image.data_offset(0) + 512;
  const uint64_t zero = image.data_offset(2) + 1024;
  const std::vector<uint64_t> places = {image.l2_place(0), image.l2_place(2)};
  image.put_word(places[0], data | kCopied);
  image.put_word(places[1], zero | kCopied | 1);
  const Checked checked = image.check();
  ASSERT_GE(checked.findings.size(), 2u);
  EXPECT_EQ(checked.texts()[0],
            fmt::format("an L2 entry has offset {:#x}, which is not cluster aligned", data));
  EXPECT_EQ(
      checked.texts()[1],
      fmt::format("an L2 entry that reads as zeroes has offset {:#x}, which is not cluster aligned",
                  zero));
  // Each also touches the next cluster.
  EXPECT_EQ(checked.findings[2].kind, FindingKind::kRefcountTooLow);
}

TEST(Checker, AnUnalignedL2TableIsReportedAndReadAtItsOffset) {
  CheckedImage image;
  const uint64_t l2 = image.l2_table();
  // The table is read from there, which is 64 entries further on.
  image.put_word(image.l1_place(0), (l2 + 512) | kCopied);
  const Checked checked = image.check();
  ASSERT_FALSE(checked.findings.empty());
  EXPECT_EQ(checked.texts()[0],
            fmt::format("an L1 entry has offset {:#x}, which is not cluster aligned", l2 + 512));
  EXPECT_GT(checked.result.leaks, 0u);
}

TEST(Checker, ReferencesPastTheEndOfTheFileAreReportedAndNotCounted) {
  CheckedImage image;
  const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
  image.put_word(image.l2_place(9), end | kCopied);
  image.file().put(end - 1, std::vector<uint8_t>{0});
  const Checked checked = image.check();
  ASSERT_EQ(checked.findings.size(), 2u);
  EXPECT_EQ(checked.texts()[0], outside(end, 4096));
  EXPECT_EQ(checked.findings[0].offset, end);
  EXPECT_EQ(checked.findings[0].value, 4096u);
}

TEST(Checker, ATruncatedLastClusterIsInTheFile) {
  CheckedImage image;
  const uint64_t offset = image.append(std::vector<uint8_t>(4096));
  image.put_word(image.l2_place(9), offset | kCopied);
  EXPECT_THAT(image.check().texts(), IsEmpty());
  sync_wait(image.file().resize(offset + 1, Preallocation::kOff));
  EXPECT_THAT(image.check().texts(), IsEmpty());
  sync_wait(image.file().resize(offset, Preallocation::kOff));
  EXPECT_EQ(image.check().texts()[0], outside(offset, 4096));
}

TEST(Checker, CompressedClustersMayNotHaveTheCopiedFlag) {
  CheckedImage image;
  const uint64_t entry = image.word(image.l2_place(4));
  ASSERT_NE(entry & layout::L2Entry::kCompressed, 0u);
  image.put_word(image.l2_place(4), entry | kCopied);
  expect_corruptions(
      image,
      {fmt::format("L2 entry {:#x} of a compressed cluster has the copied flag", entry | kCopied)});
}

TEST(Checker, ADataFileHasNoCompressedClusters) {
  CreateOptions options = CheckedImage::small_options();
  options.data_filename = "data";
  CheckedImage image(options);
  const uint64_t entry = layout::L2Entry::kCompressed | 0x5000;
  image.put_word(image.l2_place(6), entry);
  expect_corruptions(
      image, {fmt::format("L2 entry 6, {:#x}, of an image with an external data file is compressed",
                          entry)});
}

class ExtendedL2Checker : public testing::Test {
 protected:
  static CreateOptions options() {
    CreateOptions options = CheckedImage::small_options();
    options.cluster_size = 16384;
    options.size = 1 << 20;
    options.extended_l2 = true;
    return options;
  }
  CheckedImage image_{options()};
};

TEST_F(ExtendedL2Checker, ASubclusterThatIsAllocatedAndZeroIsAContradiction) {
  image_.put_word(image_.l2_place(0) + 8, 0x00000001ffffffff);
  expect_corruptions(
      image_, {fmt::format("a subcluster of the cluster at {:#x} has data, and reads as zeroes",
                           image_.data_offset(0))});
}

TEST_F(ExtendedL2Checker, AnUnallocatedClusterHasNoAllocatedSubclusters) {
  image_.put_word(image_.l2_place(20) + 8, 1);
  expect_corruptions(image_, {"subclusters have data, but no cluster is allocated for them"});
}

TEST_F(ExtendedL2Checker, ACompressedClusterHasNoSubclusters) {
  const uint64_t entry = image_.word(image_.l2_place(4));
  ASSERT_NE(entry & layout::L2Entry::kCompressed, 0u);
  image_.put_word(image_.l2_place(4) + 8, 1);
  const Checked checked = image_.check();
  EXPECT_EQ(checked.texts()[0],
            fmt::format("L2 entry 4, {:#x}, is compressed, and has subclusters", entry));
  EXPECT_EQ(checked.result.leaks, 1u);
}

TEST_F(ExtendedL2Checker, AClusterWithoutDataSubclustersIsCalledPreallocated) {
  image_.put_word(image_.l2_place(2), (image_.data_offset(2) + 512) | kCopied);
  const Checked checked = image_.check();
  EXPECT_EQ(checked.findings[0].kind, FindingKind::kZeroClusterUnaligned);
}

TEST(Checker, MoreReferencesThanARefcountCountsAreAnOverflow) {
  CreateOptions options = CheckedImage::small_options();
  options.refcount_bits = 1;
  CheckedImage image(options);
  const uint64_t offset = image.data_offset(0);
  image.put_word(image.l2_place(9), offset);
  const Checked checked = image.check();
  EXPECT_EQ(checked.texts()[0],
            fmt::format("the cluster at {:#x} has more references than a refcount of this image "
                        "can count; amend can widen them",
                        offset));
  EXPECT_EQ(checked.findings[1].kind, FindingKind::kCopiedFlagCluster);
  EXPECT_EQ(checked.result.corruptions, 2u);
}

TEST(Checker, FindingsBeyondTheMaximumAreCountedButNotReported) {
  CheckedImage image;
  for (int i = 0; i < 5; ++i) image.append({1});
  CheckOptions options;
  options.findings_max = 2;
  const Checked checked = image.check(options);
  EXPECT_EQ(checked.findings.size(), 2u);
  EXPECT_EQ(checked.result.leaks, 5u);
  EXPECT_EQ(checked.result.findings_unreported, 3u);
}

TEST(Checker, ACancelledCheckEnds) {
  const CheckedImage image;
  Cancellation cancellation;
  cancellation.request();
  CheckOptions options;
  options.cancellation = &cancellation;
  try {
    image.check(options);
    FAIL() << "not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
}

TEST(Checker, TheEncryptionHeaderIsCounted) {
  CheckedImage image;
  const uint64_t offset = image.append(std::vector<uint8_t>(5000));
  CheckSubject subject{&image.file(), image.header(), {}};
  subject.extensions.crypto_header = {layout::HostOffset(offset), 5000};
  const CheckResult result = sync_wait(check(subject, {}));
  EXPECT_EQ(result.leaks + result.corruptions, 0u);
  EXPECT_EQ(image.check().result.leaks, 2u);
}

TEST(Checker, AFileOfMoreClustersThanQemuCountsIsRefused) {
  CreateOptions options = CheckedImage::small_options();
  options.cluster_size = 512;
  CheckedImage image(options);
  sync_wait(image.file().resize(uint64_t{1} << 40, Preallocation::kOff));
  try {
    image.check();
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.data().code, "qcow2-check-ended");
    EXPECT_EQ(error.errno_value(), EFBIG);
    EXPECT_EQ(error.data().bound, (uint64_t{1} << 31) - 1);
  }
  // One cluster less can be checked, in memory proportional to what is in the file.
  sync_wait(image.file().resize((uint64_t{1} << 40) - 512, Preallocation::kOff));
  EXPECT_THAT(image.check().texts(), IsEmpty());
}

}  // namespace
}  // namespace byre::qcow2
