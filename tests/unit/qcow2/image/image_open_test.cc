// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "qcow2/image/image_parts.h"
#include "testing/fault_device.h"
#include "unit/qcow2/image_builder.h"

namespace byre::qcow2 {
namespace {

using faults::FaultDevice;
using faults::Operation;
using test::ImageBuilder;
using test::pattern;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kCluster = 65536;

Error refusal(std::unique_ptr<BlockDevice> file, OpenOptions options = {}) {
  try {
    sync_wait(Image::open(std::move(file), std::move(options)));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused";
  return Error(ErrorKind::kIo, EIO, "nothing was refused");
}

// An image with two snapshots: "one" (id 7) has data in guest cluster 0, "7" (id 2) has none.
ImageBuilder with_snapshots() {
  ImageBuilder builder;
  const HostOffset active = builder.put_data(1, 1);
  const HostOffset table = builder.take_clusters(1);
  const HostOffset l2 = builder.take_clusters(1);
  const HostOffset l1 = builder.take_clusters(1);
  const HostOffset empty_l1 = builder.take_clusters(1);
  builder.put_word(l1, layout::L1Entry::table(l2, false).word());
  builder.put_word(l2, layout::L2Entry::normal(active, false, builder.geometry()).word());
  layout::Snapshot one;
  one.l1_table_offset = l1;
  one.l1_size = 1;
  one.id = "7";
  one.name = "one";
  one.disk_size = 1 << 20;
  layout::Snapshot two = one;
  two.l1_table_offset = empty_l1;
  two.id = "2";
  two.name = "7";
  layout::Snapshot broken = one;
  broken.l1_table_offset = HostOffset(512);
  broken.id = "3";
  broken.name = "broken";
  layout::Snapshot too_large = one;
  too_large.l1_size = 0x7fffffff;
  too_large.id = "4";
  too_large.name = "too large";
  builder.file().put(table.value(), layout::encode_snapshot_table({one, two, broken, too_large}));
  builder.first_cluster.header.snapshots_offset = table;
  builder.first_cluster.header.snapshot_count = 4;
  return builder;
}

std::string snapshot_refusal(Image& image, SnapshotSelector selector) {
  try {
    sync_wait(image.load_snapshot(std::move(selector)));
  } catch (const Error& error) {
    return std::string(error.data().code);
  }
  return "nothing was refused";
}

TEST(ImageOpen, ReportsTheFieldsOfTheHeader) {
  ImageBuilder builder({.size = 3 << 20, .backing_filename = "base.raw"});
  builder.first_cluster.extensions.backing_format = "raw";
  const auto image = builder.open();
  EXPECT_EQ(image->size(), 3u << 20);
  EXPECT_STREQ(image->driver(), "qcow2");
  EXPECT_EQ(image->filename(), "test.qcow2");
  EXPECT_EQ(image->backing_filename(), "base.raw");
  EXPECT_EQ(image->backing_format(), "raw");
  EXPECT_EQ(image->data_filename(), "");
  EXPECT_FALSE(image->has_external_data_file());
  EXPECT_TRUE(image->is_read_only());
  EXPECT_EQ(image->backing(), nullptr);
  EXPECT_EQ(image->data_file(), nullptr);
  EXPECT_EQ(image->file().filename(), "test.qcow2");
  EXPECT_EQ(image->limits().preferred_transfer, kCluster);
  EXPECT_EQ(image->limits().compressed_write_size, kCluster);
  sync_wait(image->close());
  sync_wait(image->close());
}

TEST(ImageOpen, NamesOfAbsentFilesAreEmpty) {
  const auto image = ImageBuilder().open();
  EXPECT_EQ(image->backing_filename(), "");
  EXPECT_EQ(image->backing_format(), "");
  const auto with_data = ImageBuilder({.external_data_file = true}).open();
  EXPECT_EQ(with_data->data_filename(), "data.raw");
  EXPECT_EQ(with_data->limits().compressed_write_size, 0u);
}

TEST(ImageOpen, TheDiskSizeIsRoundedDownToSectors) {
  EXPECT_EQ(ImageBuilder({.size = 100001}).open()->size(), 99840u);
  EXPECT_EQ(ImageBuilder({.size = 511}).open()->size(), 0u);
  EXPECT_EQ(ImageBuilder({.size = 0}).open()->size(), 0u);
}

TEST(ImageOpen, ALargeDiskTakesLittleMemory) {
  ImageBuilder builder({.size = uint64_t{2} << 40});
  auto file = std::make_unique<FaultDevice>(builder.finish());
  FaultDevice& counted = *file;
  const auto image = sync_wait(ImageParts::open(std::move(file), {}));
  uint64_t bytes_read = 0;
  for (const faults::FaultEvent& event : counted.events()) bytes_read += event.length;
  EXPECT_LE(bytes_read, 2 * kCluster);
  EXPECT_EQ(image->tables.l2_cache.slices(), 0u);
}

TEST(ImageOpen, RefusesOtherFilesByName) {
  const Error error =
      refusal(std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, 600, 1)), "x.img"));
  EXPECT_EQ(error.data().code, "qcow2-magic-wrong");
  EXPECT_EQ(error.data().file, "x.img");
  EXPECT_THAT(error.message(), testing::StartsWith("'x.img': magic is 0x"));
  EXPECT_EQ(refusal(std::make_unique<storage::MemoryDevice>(0)).data().code, "qcow2-magic-wrong");
}

TEST(ImageOpen, AFileOfOneHeaderAndNothingElseIsAnEmptyDisk) {
  ImageBuilder builder;
  auto file = builder.finish();
  sync_wait(file->resize(112 + 8, Preallocation::kOff));
  const auto image = sync_wait(Image::open(std::move(file), {}));
  EXPECT_EQ(test::read(*image, 0, 1 << 20), Contents(1 << 20));
}

TEST(ImageOpen, RefusesUnknownIncompatibleFeaturesByTheImagesOwnNames) {
  ImageBuilder builder;
  builder.first_cluster.header.incompatible_features |= uint64_t{1} << 42;
  builder.first_cluster.extensions.feature_names = {{0, 42, "hay storage"}};
  const Error error = refusal(builder.finish());
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(error.data().code, "qcow2-features-unknown");
  EXPECT_EQ(error.data().name, "hay storage");
}

TEST(ImageOpen, RefusesEncryptedImagesUnlessOnlyMetadataIsNeeded) {
  for (const bool metadata_only : {false, true}) {
    ImageBuilder builder;
    builder.first_cluster.header.crypt_method = layout::CryptMethod::kAes;
    if (metadata_only) {
      EXPECT_EQ(builder.open({.metadata_only = true})->header().crypt_method,
                layout::CryptMethod::kAes);
      continue;
    }
    const Error error = refusal(builder.finish());
    EXPECT_EQ(error.data().code, "qcow2-is-encrypted");
    EXPECT_THAT(error.message(), testing::StartsWith("'test.qcow2': the image is encrypted (AES)"));
  }
}

TEST(ImageOpen, ACorruptImageIsReadOnly) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  builder.first_cluster.header.incompatible_features |= layout::incompatible::kCorrupt;
  auto file = builder.finish();
  EXPECT_EQ(refusal(file->clone(), {.writable = true}).data().code, "qcow2-is-corrupt");
  const auto image = sync_wait(Image::open(std::move(file), {}));
  EXPECT_EQ(test::read(*image, 0, kCluster), pattern(0, kCluster, 1));
}

TEST(ImageOpen, ADirtyImageIsReadAsItIs) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  builder.first_cluster.header.incompatible_features |= layout::incompatible::kDirty;
  const auto image = builder.open();
  EXPECT_EQ(test::read(*image, 0, kCluster), pattern(0, kCluster, 1));
}

TEST(ImageOpen, RefusesAnL1TableThatIsTooSmall) {
  ImageBuilder builder({.size = uint64_t{1} << 30});
  builder.first_cluster.header.l1_size = 1;
  EXPECT_EQ(refusal(builder.finish()).message(),
            "'test.qcow2': l1_size is 1; the disk of 1073741824 bytes needs 2 entries");
}

TEST(ImageOpen, ReportsAnL1TableThatCannotBeRead) {
  ImageBuilder builder;
  const uint64_t l1 = builder.first_cluster.header.l1_table_offset.value();
  auto file = std::make_unique<FaultDevice>(builder.finish());
  file->add_rule({.operation = Operation::kRead, .offset = l1, .length = 8});
  const Error error = refusal(std::move(file));
  EXPECT_EQ(error.data().code, "qcow2-l1-table-unreadable");
  EXPECT_EQ(error.errno_value(), EIO);
}

TEST(ImageOpen, ReportsAHeaderThatCannotBeRead) {
  auto file = std::make_unique<FaultDevice>(ImageBuilder().finish());
  file->add_rule({.operation = Operation::kRead});
  EXPECT_EQ(refusal(std::move(file)).errno_value(), EIO);
}

TEST(ImageOpen, KnowsItsSnapshots) {
  const auto image = with_snapshots().open();
  ASSERT_EQ(image->snapshots().size(), 4u);
  EXPECT_EQ(image->snapshots()[0].name, "one");
  EXPECT_EQ(image->snapshots()[1].id, "2");
}

TEST(ImageOpen, ACheckerReadsTheSnapshotTableItself) {
  ImageBuilder builder = with_snapshots();
  builder.file().put(builder.first_cluster.header.snapshots_offset.value() + 36,
                     Contents(4, 0xff));  // extra data size of the first entry
  auto file = builder.finish();
  OpenOptions writable;
  writable.writable = true;
  const Error refused = refusal(file->clone(), writable);
  EXPECT_EQ(refused.data().code, "qcow2-snapshot-extra-data-too-large");
  EXPECT_EQ(refused.data().index, 0);
  EXPECT_THAT(refused.suffix(), testing::HasSubstr("check -r all --drop-unreadable"));
  const auto image = sync_wait(Image::open(std::move(file), {.for_check = true}));
  EXPECT_TRUE(image->snapshots().empty());
}

TEST(ImageOpen, ShowsASnapshotByNameIdOrBoth) {
  const Contents data = pattern(kCluster, kCluster, 1);
  const Contents nothing(kCluster);
  const struct {
    SnapshotSelector selector;
    Contents first_cluster;
  } cases[] = {
      {{.name = "one"}, data},
      {{.id = "7"}, data},
      {{.id = "7", .name = "one"}, data},
      {{.name = "7"}, nothing},
      {{.id_or_name = "one"}, data},
      // An id takes precedence over a name.
      {{.id_or_name = "7"}, data},
      {{.id_or_name = "2"}, nothing},
  };
  for (const auto& each : cases) {
    const auto image = with_snapshots().open();
    sync_wait(image->load_snapshot(each.selector));
    EXPECT_EQ(test::read(*image, 0, kCluster), each.first_cluster);
    EXPECT_EQ(test::read(*image, kCluster, kCluster), nothing);
  }
}

TEST(ImageOpen, RefusesMissingAndInvalidSnapshots) {
  const auto image = with_snapshots().open();
  EXPECT_EQ(snapshot_refusal(*image, {.name = "no"}), "qcow2-snapshot-not-found");
  EXPECT_EQ(snapshot_refusal(*image, {.id = "one"}), "qcow2-snapshot-not-found");
  EXPECT_EQ(snapshot_refusal(*image, {.id = "7", .name = "7"}), "qcow2-snapshot-not-found");
  EXPECT_EQ(snapshot_refusal(*image, {.id_or_name = ""}), "qcow2-snapshot-not-found");
  EXPECT_EQ(snapshot_refusal(*image, {}), "qcow2-snapshot-not-found");
  EXPECT_EQ(snapshot_refusal(*image, {.name = "broken"}), "qcow2-snapshot-l1-table-offset-invalid");
  EXPECT_EQ(snapshot_refusal(*image, {.name = "too large"}), "qcow2-snapshot-l1-table-too-large");
  // It still shows the active disk.
  EXPECT_EQ(test::read(*image, kCluster, kCluster), pattern(kCluster, kCluster, 1));
}

TEST(ImageOpen, ReportsASnapshotsL1TableThatCannotBeRead) {
  auto file = std::make_unique<FaultDevice>(with_snapshots().finish());
  FaultDevice& faulty = *file;
  const auto image = sync_wait(Image::open(std::move(file), {}));
  faulty.add_rule({.operation = Operation::kRead});
  EXPECT_EQ(snapshot_refusal(*image, {.name = "one"}), "qcow2-snapshot-l1-table-unreadable");
}

TEST(ImageOpen, ClosesEverythingAndReportsTheFirstFailure) {
  ImageBuilder builder({.external_data_file = true, .backing_filename = "base"});
  auto file = std::make_unique<FaultDevice>(builder.finish());
  FaultDevice& image_file = *file;
  const auto image = sync_wait(Image::open(std::move(file), {}));
  auto data = std::make_unique<FaultDevice>(std::make_unique<storage::MemoryDevice>(1 << 20));
  FaultDevice& data_file = *data;
  auto base = std::make_unique<FaultDevice>(std::make_unique<storage::MemoryDevice>(1 << 20));
  FaultDevice& backing = *base;
  image->set_data_file(std::move(data));
  image->set_backing(std::move(base));
  data_file.add_rule({.operation = Operation::kClose});
  EXPECT_THROW(sync_wait(image->close()), Error);
  EXPECT_EQ(image_file.count(Operation::kClose), 1u);
  EXPECT_EQ(backing.count(Operation::kClose), 1u);
}

}  // namespace
}  // namespace byre::qcow2
