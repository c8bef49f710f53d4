// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qcow2/check/check.h"
#include "unit/qcow2/checked_image.h"

// What a check finds in refcount tables, snapshots and bitmaps, and in files that cannot be read.
namespace byre::qcow2 {
namespace {

std::string advice() {
  return "\ncheck -r all repairs the table where its entries show how; byre check -r all "
         "--drop-unreadable removes the snapshots that cannot be read";
}

using test::Checked;
using test::CheckedImage;
using testing::ElementsAre;
using testing::IsEmpty;

// The findings of a check that does not complete.
struct Failed {
  int errno_value = 0;
  std::vector<std::string> texts;
};

Failed check_fails(const CheckedImage& image, BlockDevice& device) {
  Failed failed;
  CheckOptions options;
  options.on_finding = [&failed](const Finding& each) {
    failed.texts.push_back(problem_of(each).message());
  };
  const layout::HeaderCluster first = image.first_cluster();
  try {
    sync_wait(check(CheckSubject{&device, first.header, first.extensions}, options));
  } catch (const Error& error) {
    EXPECT_EQ(error.data().code, "qcow2-check-ended");
    failed.errno_value = error.errno_value();
  }
  return failed;
}
Failed check_fails(CheckedImage& image) {
  return check_fails(image, image.file());
}

TEST(RefcountTableCheck, ReservedBitsAreReported) {
  CheckedImage image;
  image.put_word(image.table_place(5), 1);
  EXPECT_THAT(image.check().texts(), ElementsAre("refcount table entry 5 has reserved bits set"));
}

TEST(RefcountTableCheck, ABlockOutsideTheFileIsReported) {
  CheckedImage image;
  image.put_word(image.table_place(3), uint64_t{1} << 40);
  EXPECT_THAT(image.check().texts(),
              ElementsAre(testing::MatchesRegex(
                  "refcount block 3 at 0x[0-9a-f]+ is past the end of the file")));
}

TEST(RefcountTableCheck, ABlockThatSomethingElseUsesIsReported) {
  CheckedImage image;
  const uint64_t offset = image.data_offset(0);
  image.put_word(image.table_place(3), offset);
  const Checked checked = image.check();
  EXPECT_EQ(checked.texts()[0], "refcount block 3 has 2 references");
  EXPECT_EQ(checked.findings[0].references, 2u);
  EXPECT_EQ(checked.texts()[1],
            fmt::format("cluster {} may be allocated again: its refcount is 1, it has 2 references",
                        image.cluster_of(offset)));
}

TEST(RefcountTableCheck, RefcountsOfAnUnalignedBlockCannotBeRead) {
  CheckedImage image;
  const uint64_t block = image.block();
  image.put_word(image.table_place(0), block + 512);
  const Checked checked = image.check();
  ASSERT_GE(checked.findings.size(), 3u);
  EXPECT_EQ(
      checked.texts()[0],
      fmt::format("refcount table entry 0 is {:#x}, which is not cluster aligned", block + 512));
  EXPECT_EQ(checked.texts()[1],
            fmt::format("refcount block 0 is not read: its offset is {:#x}", block + 512));
  EXPECT_EQ(checked.findings[1].severity, Severity::kNote);
  EXPECT_EQ(checked.texts()[2], "the refcount of cluster 0 cannot be read");
  EXPECT_EQ(checked.result.corruptions, 1u);
  EXPECT_EQ(checked.result.check_errors, image.geometry().clusters_for(image.file().size()));
  EXPECT_EQ(checked.result.image_end_offset, 4096u);
}

TEST(RefcountTableCheck, WithoutABlockAllRefcountsAreZero) {
  CheckedImage image;
  const uint64_t clusters = image.geometry().clusters_for(image.file().size());
  image.put_word(image.table_place(0), 0);
  const Checked checked = image.check();
  // The block itself is no longer referred to. The copied flags of two data clusters, one
  // preallocated zero cluster and the L2 table are wrong.
  EXPECT_EQ(checked.result.corruptions, clusters - 1 + 4);
  EXPECT_EQ(checked.texts()[0],
            "cluster 0 may be allocated again: its refcount is 0, it has 1 references");
}

layout::Snapshot snapshot_of(const CheckedImage& image, const std::string& id) {
  layout::Snapshot snapshot;
  snapshot.l1_table_offset = image.header().l1_table_offset;
  snapshot.l1_size = image.header().l1_size;
  snapshot.id = id;
  snapshot.name = "name " + id;
  snapshot.disk_size = image.header().size;
  return snapshot;
}

TEST(SnapshotCheck, SnapshotsCountEverythingThatTheyReferTo) {
  CheckedImage image;
  const uint64_t data = image.data_offset(0);
  const uint64_t l1 = image.header().l1_table_offset.value();
  image.put_snapshots({snapshot_of(image, "1"), snapshot_of(image, "2")});
  const Checked checked = image.check();
  EXPECT_THAT(checked.texts(),
              testing::Contains(fmt::format(
                  "cluster {} may be allocated again: its refcount is 1, it has 3 references",
                  image.cluster_of(data))));
  EXPECT_THAT(checked.texts(),
              testing::Contains(fmt::format(
                  "cluster {} may be allocated again: its refcount is 1, it has 3 references",
                  image.cluster_of(l1))));
  EXPECT_EQ(checked.result.leaks, 0u);
  // The statistics are those of the active disk.
  EXPECT_EQ(checked.result.clusters.allocated, 4u);
}

TEST(SnapshotCheck, ABadL1TableIsReportedAndSkipped) {
  CheckedImage image;
  layout::Snapshot unaligned = snapshot_of(image, "1");
  unaligned.l1_table_offset = layout::HostOffset(0x1201);
  layout::Snapshot large = snapshot_of(image, "2");
  large.l1_size = 0x400001;
  image.put_snapshots({unaligned, large});
  EXPECT_THAT(
      image.check().texts(),
      ElementsAre("the L1 table of snapshot 1 (name 1) is at 0x1201, which is not cluster aligned",
                  "the L1 table of snapshot 2 (name 2) has 4194305 entries"));
}

TEST(SnapshotCheck, AVersion3SnapshotWithoutItsDiskSizeIsIncomplete) {
  CheckedImage image;
  layout::Snapshot snapshot = snapshot_of(image, "1");
  snapshot.disk_size.reset();
  snapshot.l1_size = 0;
  image.put_snapshots({snapshot});
  EXPECT_THAT(image.check().texts(), ElementsAre("snapshot table entry 0 has no disk size"));
}

TEST(SnapshotCheck, ADataFileHasNoSnapshots) {
  CreateOptions options = CheckedImage::small_options();
  options.data_filename = "data";
  CheckedImage image(options);
  layout::Snapshot snapshot = snapshot_of(image, "1");
  snapshot.l1_size = 0;
  image.put_snapshots({snapshot});
  EXPECT_THAT(image.check().texts(),
              ElementsAre("an image with an external data file has 1 snapshots"));
}

TEST(SnapshotCheck, AnImpossibleTableEndsTheCheck) {
  CheckedImage image;
  image.put<uint64_t>(64, 0x1200);
  image.put<uint32_t>(60, 1);
  Failed failed = check_fails(image);
  EXPECT_THAT(failed.texts,
              ElementsAre(testing::StartsWith("the snapshot table cannot be found: ")));
  EXPECT_EQ(failed.errno_value, EINVAL);
  image.put<uint32_t>(60, 65536 + 7);
  failed = check_fails(image);
  EXPECT_THAT(failed.texts,
              ElementsAre(AllOf(testing::StartsWith("the snapshot table cannot be found: "),
                                testing::EndsWith(advice()))));
  EXPECT_EQ(failed.errno_value, EFBIG);
}

TEST(SnapshotCheck, TooMuchExtraDataEndsTheCheck) {
  CheckedImage image;
  image.put_snapshots({snapshot_of(image, "1")});
  image.put<uint32_t>(image.header().snapshots_offset.value() + 36, 1025);
  const Failed failed = check_fails(image);
  EXPECT_THAT(failed.texts,
              ElementsAre("the snapshot table cannot be read: extra_data_size of snapshot "
                          "table entry 0 is 1025; at most 1024 bytes are supported" +
                          advice()));
  EXPECT_EQ(failed.errno_value, EFBIG);
}

// A bitmap with one cluster of bits; returns the offset of its table.
uint64_t put_bitmap(CheckedImage& image, layout::BitmapsExtension* extension, uint32_t flags) {
  const uint64_t bits = image.append({0xff});
  std::vector<uint8_t> table(8);
  store_big_endian(table.data(), bits);
  layout::BitmapEntry entry;
  const uint64_t table_offset = image.append(table);
  entry.table_offset = layout::HostOffset(table_offset);
  entry.table_size = 1;
  entry.name = "b";
  entry.flags = flags;
  const std::vector<uint8_t> directory = layout::encode_bitmap_directory({entry});
  extension->bitmap_count = 1;
  extension->directory_size = directory.size();
  extension->directory_offset = layout::HostOffset(image.append(directory));
  return table_offset;
}

CheckResult check_with(CheckedImage& image, const layout::BitmapsExtension& extension) {
  CheckSubject subject{&image.file(), image.header(), {}};
  subject.extensions.bitmaps = extension;
  return sync_wait(check(subject, {}));
}

TEST(BitmapCheck, DirectoryTableAndBitsAreCounted) {
  CheckedImage image;
  layout::BitmapsExtension extension;
  put_bitmap(image, &extension, 0);
  EXPECT_EQ(image.check().result.leaks, 3u);
  const CheckResult result = check_with(image, extension);
  EXPECT_EQ(result.leaks + result.corruptions, 0u);
}

TEST(BitmapCheck, ATableEntryWithReservedBitsIsACorruptionAndSoIsItsBitmap) {
  CheckedImage image;
  layout::BitmapsExtension extension;
  const uint64_t table = put_bitmap(image, &extension, layout::bitmap_flag::kInUse);
  image.put_word(table, image.word(table) | uint64_t{1} << 60);
  const CheckResult result = check_with(image, extension);
  EXPECT_EQ(result.corruptions, 2u);
  EXPECT_EQ(result.leaks, 1u);
}

TEST(BitmapCheck, ADirectoryWithAWrongNumberOfBitmapsIsACorruption) {
  CheckedImage image;
  layout::BitmapsExtension extension;
  put_bitmap(image, &extension, 0);
  extension.bitmap_count = 2;
  EXPECT_EQ(check_with(image, extension).corruptions, 1u);
}

TEST(UnreadableFile, EachTableThatCannotBeReadIsNamed) {
  CheckedImage image;
  image.set_refcount(image.data_offset(0), 2);  // so that the copied flags are checked
  const auto failed_at = [&image](uint64_t offset, uint64_t first) {
    faults::FaultDevice device(image.file().clone());
    device.add_rule(
        {.operation = faults::Operation::kRead, .first = first, .offset = offset, .length = 1});
    return check_fails(image, device);
  };
  Failed failed = failed_at(image.l1_place(0), 1);
  EXPECT_THAT(failed.texts, ElementsAre("an L1 table cannot be read"));
  EXPECT_EQ(failed.errno_value, EIO);
  failed = failed_at(image.l2_table(), 1);
  EXPECT_THAT(failed.texts, ElementsAre("an L2 table cannot be read"));
  EXPECT_EQ(failed.errno_value, EIO);
  failed = failed_at(image.l2_table(), 2);
  ASSERT_EQ(failed.texts.size(), 2u);
  EXPECT_THAT(failed.texts[1],
              testing::MatchesRegex("the L2 table at 0x[0-9a-f]+ cannot be read again: .*"));
  EXPECT_EQ(failed.errno_value, EIO);
  EXPECT_EQ(failed_at(image.table_place(0), 1).errno_value, EIO);
  // Refcounts that cannot be read are a finding for each cluster.
  failed = failed_at(image.block(), 1);
  EXPECT_EQ(failed.errno_value, 0);
  EXPECT_EQ(failed.texts[0], "the refcount of cluster 0 cannot be read");
}

TEST(SharedTables, AreReadAFewTimesHoweverManyEntriesNameThem) {
  CreateOptions options = CheckedImage::small_options();
  options.size = uint64_t{2} << 30;  // 1024 L2 tables
  CheckedImage image(options);
  const uint64_t entry = image.word(image.l1_place(0));
  const uint64_t data = image.cluster_of(image.data_offset(1));
  for (uint64_t i = 1; i < 1024; ++i) image.put_word(image.l1_place(i), entry);
  faults::FaultDevice device(image.file().clone());
  const Checked checked = image.check_on(device);
  EXPECT_THAT(
      checked.texts(),
      testing::Contains(fmt::format(
          "cluster {} may be allocated again: its refcount is 1, it has 1024 references", data)));
  EXPECT_EQ(checked.result.clusters.allocated, 4u * 1024);
  EXPECT_EQ(checked.result.clusters.compressed, 1024u);
  EXPECT_LT(device.count(faults::Operation::kRead), 30u);
}

TEST(SharedTables, OfSnapshotsAreCountedForEachOfThem) {
  CreateOptions options = CheckedImage::small_options();
  options.cluster_size = 512;
  CheckedImage image(options);
  // An L1 table of whole clusters.
  const uint64_t l1 = image.append(image.file().get(image.l1_place(0), image.header().l1_size * 8));
  std::vector<layout::Snapshot> snapshots;
  for (int i = 0; i < 100; ++i) {
    snapshots.push_back(snapshot_of(image, std::to_string(i)));
    snapshots.back().l1_table_offset = layout::HostOffset(l1);
    snapshots.back().l1_size = 64;
  }
  const uint64_t data = image.cluster_of(image.data_offset(1));
  image.put_snapshots(snapshots);
  EXPECT_THAT(
      image.check().texts(),
      testing::Contains(fmt::format(
          "cluster {} may be allocated again: its refcount is 1, it has 101 references", data)));
}

// Snapshots whose L1 tables overlap one another, on tables without faults and on anything else,
// inside the file and past its end.
CheckedImage image_of_overlapping_tables(uint32_t refcount_bits, unsigned count) {
  CreateOptions options = CheckedImage::small_options();
  options.cluster_size = 512;
  options.refcount_bits = refcount_bits;
  CheckedImage image(options);
  std::vector<uint8_t> tables = image.file().get(image.l1_place(0), 8);
  tables.resize(8 * 512);
  const std::vector<uint8_t> two = image.file().get(image.l1_place(0), 16);
  std::copy(two.begin(), two.end(), tables.begin() + 1024);
  const uint64_t l1 = image.append(tables);
  std::vector<layout::Snapshot> snapshots;
  uint64_t state = 1;
  for (unsigned i = 0; i < count; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    snapshots.push_back(snapshot_of(image, std::to_string(i)));
    const uint64_t place = i % 4 == 0 ? state >> 60 : l1 / 512 + (state >> 61);
    snapshots.back().l1_table_offset = layout::HostOffset(place * 512);
    snapshots.back().l1_size = static_cast<uint32_t>(i % 10 == 9 ? 1 << 22 : (state >> 40) % 600);
  }
  const uint64_t table = image.append(layout::encode_snapshot_table(snapshots));
  image.put<uint32_t>(60, count);
  image.put<uint64_t>(64, table);
  return image;
}

TEST(SharedTables, GiveTheSameCountsWhetherReadEachTimeOrOnce) {
  for (const uint32_t refcount_bits : {1, 8, 16, 64}) {
    CheckedImage image = image_of_overlapping_tables(refcount_bits, 200);
    const Checked each_time = image.check();
    // If no findings are wanted, tables with faults need no further reads either.
    const Checked once = image.check({.findings_max = 0});
    EXPECT_GT(each_time.result.corruptions, 1000u);
    EXPECT_EQ(each_time.result.corruptions, once.result.corruptions) << refcount_bits;
    EXPECT_EQ(each_time.result.leaks, once.result.leaks) << refcount_bits;
    EXPECT_EQ(each_time.result.check_errors, once.result.check_errors) << refcount_bits;
    EXPECT_EQ(each_time.result.image_end_offset, once.result.image_end_offset) << refcount_bits;
  }
}

TEST(SharedTables, OfThousandsOfSnapshotsAreReadAFewTimes) {
  CreateOptions options = CheckedImage::small_options();
  options.cluster_size = 512;
  CheckedImage image(options);
  const uint64_t l1 = image.append(std::vector<uint8_t>(8 * 512));
  image.put_word(l1 + 7 * 512, image.word(image.l1_place(0)));
  std::vector<layout::Snapshot> snapshots;
  for (unsigned i = 0; i < 20000; ++i) {
    snapshots.push_back(snapshot_of(image, std::to_string(i)));
    snapshots.back().l1_table_offset = layout::HostOffset(l1 + i % 7 * 512);
    snapshots.back().l1_size = static_cast<uint32_t>((8 - i % 7) * 64 - i % 3);
  }
  const uint64_t data = image.cluster_of(image.data_offset(1));
  std::vector<uint8_t> table = layout::encode_snapshot_table(snapshots);
  const uint64_t offset = image.geometry().clusters_for(image.file().size()) * 512;
  table.resize(image.geometry().clusters_for(table.size()) * 512);
  image.file().put(offset, table);
  image.put<uint32_t>(60, 20000);
  image.put<uint64_t>(64, offset);
  faults::FaultDevice device(image.file().clone());
  const std::vector<std::string> texts = image.check_on(device).texts();
  for (const uint64_t cluster : {image.cluster_of(l1) + 6, image.cluster_of(l1) + 7}) {
    EXPECT_THAT(texts,
                testing::Contains(fmt::format(
                    "cluster {} may be allocated again: its refcount is 1, it has 20000 references",
                    cluster)));
  }
  EXPECT_THAT(
      texts,
      testing::Contains(fmt::format(
          "cluster {} may be allocated again: its refcount is 1, it has 20001 references", data)));
  EXPECT_LT(device.count(faults::Operation::kRead), 3000u);
}

}  // namespace
}  // namespace byre::qcow2
