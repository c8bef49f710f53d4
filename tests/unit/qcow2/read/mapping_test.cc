// SPDX-License-Identifier: Apache-2.0
#include "qcow2/read/mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/image_builder.h"

namespace byre::qcow2 {
namespace {

using test::ImageBuilder;
using testing::HasSubstr;

constexpr uint64_t kCluster = 65536;

Run run_at(ImageParts& image, uint64_t offset, uint64_t length = UINT64_MAX / 2) {
  length = std::min(length, image.context.disk_size() - offset);
  return sync_wait(image.mapping.run_at(GuestOffset(offset), length));
}

std::string refusal(ImageParts& image, uint64_t offset) {
  try {
    run_at(image, offset);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_EQ(error.errno_value(), EIO);
    EXPECT_EQ(error.message(), "Input/output error");
    return error.hint();
  }
  return "nothing was refused";
}

TEST(Mapping, ConsecutiveHostClustersAreOneRun) {
  ImageBuilder builder;
  const HostOffset first = builder.put_data(1, 1);
  builder.take_clusters(1);
  const HostOffset host = builder.take_clusters(3);
  for (uint64_t i = 0; i < 3; ++i) builder.put_data_at(2 + i, host + i * kCluster, 1);
  const auto image = builder.open_parts();
  qcow2::Run run = run_at(*image, 0);
  EXPECT_EQ(run.kind, RunKind::kUnallocated);
  EXPECT_EQ(run.length, kCluster);
  run = run_at(*image, kCluster + 100);
  EXPECT_EQ(run.kind, RunKind::kData);
  EXPECT_EQ(run.host_offset, first + 100);
  EXPECT_EQ(run.length, kCluster - 100);
  run = run_at(*image, 2 * kCluster);
  EXPECT_EQ(run.host_offset, host);
  EXPECT_EQ(run.length, 3 * kCluster);
  run = run_at(*image, 2 * kCluster + 512, 1000);
  EXPECT_EQ(run.length, 1000u);
}

TEST(Mapping, IsFoundWithoutWaitingOnceTheSliceIsInMemory) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  const auto image = builder.open_parts();
  EXPECT_FALSE(image->mapping.find_run(GuestOffset(0), 1));
  run_at(*image, 0);
  EXPECT_TRUE(image->mapping.find_run(GuestOffset(0), 1));
}

TEST(Mapping, KnowsEveryStateOfACluster) {
  ImageBuilder builder;
  const layout::Geometry shape = builder.geometry();
  const HostOffset host = builder.take_clusters(1);
  builder.set_l2(0, layout::L2Entry::zero_plain(shape));
  builder.set_l2(1, layout::L2Entry::zero_allocated(host, true, shape));
  const HostOffset compressed = builder.put_compressed(2, test::compressible(kCluster, 1));
  builder.put_compressed(3, test::compressible(kCluster, 2));
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 0).kind, RunKind::kZeroPlain);
  EXPECT_EQ(run_at(*image, 0).length, kCluster);
  EXPECT_EQ(run_at(*image, kCluster + 5).kind, RunKind::kZeroAllocated);
  EXPECT_EQ(run_at(*image, kCluster + 5).host_offset, host + 5);
  const qcow2::Run run = run_at(*image, 2 * kCluster + 7);
  EXPECT_EQ(run.kind, RunKind::kCompressed);
  EXPECT_EQ(run.host_offset, compressed);
  EXPECT_EQ(run.length, kCluster - 7);
  EXPECT_EQ((compressed.value() + run.compressed_size) % 512, 0u);
  // The next cluster's data begins in the middle of a sector, which both descriptors count.
  EXPECT_NE(run_at(*image, 3 * kCluster).host_offset.value() % 512, 0u);
}

TEST(Mapping, SkipsAllUnallocatedL1EntriesAtOnce) {
  // 2 TiB: 4096 L1 entries, of which the last one is used.
  ImageBuilder builder({.size = uint64_t{2} << 40});
  const uint64_t last = (uint64_t{2} << 40) / kCluster - 1;
  builder.put_data(last, 1);
  const auto image = builder.open_parts();
  const qcow2::Run run = run_at(*image, 12345);
  EXPECT_EQ(run.kind, RunKind::kUnallocated);
  EXPECT_EQ(run.length, (uint64_t{4095} << 29) - 12345);
  EXPECT_EQ(image->tables.l2_cache.reads(), 0u);
  EXPECT_EQ(run_at(*image, last * kCluster).kind, RunKind::kData);
}

TEST(Mapping, CutsTablesIntoSlicesAndARunEndsWithItsSlice) {
  ImageBuilder builder({.size = uint64_t{1} << 30});
  const uint64_t per_slice = 2048;  // 16 KiB of 8-byte entries
  const HostOffset host = builder.take_clusters(2);
  builder.put_data_at(per_slice - 1, host, 1);
  builder.put_data_at(per_slice, host + kCluster, 1);
  const auto image = builder.open_parts();
  EXPECT_EQ(image->mapping.bytes_per_slice(), per_slice * kCluster);
  EXPECT_EQ(image->mapping.bytes_per_l2_table(), 8192 * kCluster);
  const qcow2::Run run = run_at(*image, (per_slice - 1) * kCluster, kCluster);
  EXPECT_EQ(run.length, kCluster);
  EXPECT_EQ(image->tables.l2_cache.reads(), 1u);
  EXPECT_EQ(run_at(*image, per_slice * kCluster, kCluster).host_offset, host + kCluster);
  EXPECT_EQ(image->tables.l2_cache.reads(), 2u);
}

TEST(Mapping, ReadsTheSlicesOfALongRangeAtOnce) {
  ImageBuilder builder({.size = uint64_t{2} << 30});
  const uint64_t per_slice = 2048;
  builder.put_data(0, 1);
  builder.put_data(8192, 1);  // in the next table
  const auto image = builder.open_parts();
  run_at(*image, per_slice * kCluster, uint64_t{1} << 30);
  EXPECT_EQ(image->tables.l2_cache.slices(), 3u);
  for (const uint64_t slice : {1, 2, 3}) run_at(*image, slice * per_slice * kCluster, kCluster);
  EXPECT_EQ(image->tables.l2_cache.reads(), 1u);
}

TEST(Mapping, TheSmallestClustersHaveOneSlicePerTable) {
  ImageBuilder builder({.size = 1 << 20, .cluster_bits = 9});
  builder.put_data(63, 1);
  builder.put_data(64, 1);
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 63 * 512).length, 512u);
  EXPECT_EQ(run_at(*image, 64 * 512).kind, RunKind::kData);
  EXPECT_EQ(run_at(*image, 0).length, 63u * 512);
}

TEST(Mapping, FollowsSubclusters) {
  ImageBuilder builder({.extended_l2 = true});
  const HostOffset host = builder.take_clusters(1);
  // Subclusters 0-1 are data, 2-3 zero, the others unallocated.
  builder.set_l2(0, layout::L2Entry(host.value() | layout::L2Entry::kCopied,
                                    uint64_t{0x3} | uint64_t{0xc} << 32));
  builder.set_l2(1, layout::L2Entry(0, uint64_t{1} << 32));
  const auto image = builder.open_parts();
  const uint64_t subcluster = kCluster / 32;
  qcow2::Run run = run_at(*image, 10);
  EXPECT_EQ(run.kind, RunKind::kData);
  EXPECT_EQ(run.length, 2 * subcluster - 10);
  EXPECT_EQ(run.host_offset, host + 10);
  run = run_at(*image, 2 * subcluster);
  EXPECT_EQ(run.kind, RunKind::kZeroAllocated);
  EXPECT_EQ(run.host_offset, host + 2 * subcluster);
  EXPECT_EQ(run.length, 2 * subcluster);
  // Unallocated with a host offset, then zeroes without one, then neither.
  run = run_at(*image, 4 * subcluster);
  EXPECT_EQ(run.kind, RunKind::kUnallocated);
  EXPECT_TRUE(run.has_host_offset);
  EXPECT_EQ(run.length, 28 * subcluster);
  run = run_at(*image, kCluster);
  EXPECT_EQ(run.kind, RunKind::kZeroPlain);
  EXPECT_EQ(run.length, subcluster);
  run = run_at(*image, kCluster + subcluster);
  EXPECT_EQ(run.kind, RunKind::kUnallocated);
  EXPECT_FALSE(run.has_host_offset);
  EXPECT_EQ(run.length, image->context.disk_size() - kCluster - subcluster);
}

TEST(Mapping, ARunOfSubclustersContinuesInTheNextEntry) {
  ImageBuilder builder({.extended_l2 = true});
  const HostOffset host = builder.take_clusters(2);
  builder.set_l2(0, layout::L2Entry(host.value(), 0x80000000));
  builder.set_l2(1, layout::L2Entry((host + kCluster).value(), 0x00000001));
  const auto image = builder.open_parts();
  const qcow2::Run run = run_at(*image, 31 * kCluster / 32);
  EXPECT_EQ(run.length, 2 * kCluster / 32);
}

TEST(Mapping, RefusesAnL2TableInsideACluster) {
  ImageBuilder builder;
  builder.set_l1(0, layout::L1Entry::table(HostOffset(0x40200), true));
  const auto image = builder.open_parts();
  EXPECT_THAT(
      refusal(*image, 0),
      HasSubstr("'test.qcow2' is corrupt: L2 table offset 0x40200 unaligned (L1 index: 0)"));
}

TEST(Mapping, RefusesAClusterThatIsNotAligned) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  builder.set_l2(3, layout::L2Entry(0x50200 | layout::L2Entry::kCopied));
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 2 * kCluster).length, kCluster);
  EXPECT_THAT(refusal(*image, 3 * kCluster),
              HasSubstr("Cluster allocation offset 0x50200 unaligned (L2 offset: "));
  EXPECT_THAT(refusal(*image, 3 * kCluster), HasSubstr("L2 index: 0x3)"));
}

TEST(Mapping, RefusesAZeroFlagInVersion2) {
  ImageBuilder builder({.version = 2});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kZero));
  const auto image = builder.open_parts();
  EXPECT_THAT(refusal(*image, 0), HasSubstr("Zero cluster entry found in pre-v3 image"));
}

TEST(Mapping, RefusesSubclustersThatContradictThemselves) {
  ImageBuilder builder({.extended_l2 = true});
  builder.set_l2(0, layout::L2Entry(builder.take_clusters(1).value(), 1 | uint64_t{1} << 32));
  const auto image = builder.open_parts();
  EXPECT_THAT(refusal(*image, 0), HasSubstr("Invalid cluster entry found"));
  // The whole entry is invalid then, as in QEMU.
  EXPECT_THAT(refusal(*image, 2048), HasSubstr("Invalid cluster entry found"));
}

TEST(Mapping, RefusesADataFileOffsetThatIsNotTheGuestOffset) {
  ImageBuilder builder({.external_data_file = true});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCopied));
  builder.set_l2(1, layout::L2Entry(2 * kCluster | layout::L2Entry::kCopied));
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 0).kind, RunKind::kData);
  EXPECT_EQ(run_at(*image, 0).length, kCluster);
  EXPECT_THAT(refusal(*image, kCluster),
              HasSubstr("External data file host cluster offset 0x20000 does not match guest "
                        "cluster offset: 0x10000, L2 index: 0x1)"));
}

TEST(Mapping, RefusesCompressedClustersInAnImageWithADataFile) {
  ImageBuilder builder({.external_data_file = true});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCompressed | 0x50000));
  const auto image = builder.open_parts();
  EXPECT_THAT(refusal(*image, 0),
              HasSubstr("Compressed cluster entry found in image with external data file"));
}

TEST(Mapping, ACompressedClusterBeyondEveryFileIsStillCompressed) {
  ImageBuilder builder({.size = 4 * 512, .cluster_bits = 9});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCompressed | (uint64_t{1} << 56)));
  const auto image = builder.open_parts();
  const qcow2::Run run = run_at(*image, 0);
  EXPECT_EQ(run.kind, RunKind::kCompressed);
  EXPECT_EQ(run.host_offset, HostOffset(uint64_t{1} << 56));
}

TEST(Mapping, ReservedBitsChangeNothing) {
  ImageBuilder builder;
  const HostOffset host = builder.put_data(0, 1);
  builder.set_l2(0, layout::L2Entry(host.value() | uint64_t{1} << 60 | 2));
  builder.set_l1(1, layout::L1Entry(uint64_t{1} << 60));
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 0).host_offset, host);
}

TEST(Mapping, WarnsOfTheFirstFindingOnly) {
  ImageBuilder builder;
  builder.set_l1(0, layout::L1Entry::table(HostOffset(0x40200), true));
  std::vector<std::string> warnings;
  OpenOptions options;
  options.on_warning = [&](const std::string& line) { warnings.push_back(line); };
  const auto image = builder.open_parts(options);
  refusal(*image, 0);
  refusal(*image, 0);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0],
            "qcow2: Image is corrupt: L2 table offset 0x40200 unaligned (L1 index: 0); further "
            "non-fatal corruption events will be suppressed\n");
}

}  // namespace
}  // namespace byre::qcow2
