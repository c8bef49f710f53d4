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
using testing::StartsWith;

constexpr uint64_t kCluster = 65536;

GuestRun run_at(ImageParts& image, uint64_t offset, uint64_t length = UINT64_MAX / 2) {
  length = std::min(length, image.context.disk_size() - offset);
  return sync_wait(image.mapping.run_at(GuestOffset(offset), length));
}

// What the entry for this offset breaks.
ErrorData refusal(ImageParts& image, uint64_t offset) {
  try {
    run_at(image, offset);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
    EXPECT_EQ(error.errno_value(), EIO);
    EXPECT_EQ(error.data().file, "test.qcow2");
    EXPECT_THAT(error.message(), StartsWith("'test.qcow2': "));
    return error.data();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

TEST(Mapping, ConsecutiveHostClustersAreOneRun) {
  ImageBuilder builder;
  const HostOffset first = builder.put_data(1, 1);
  builder.take_clusters(1);
  const HostOffset host = builder.take_clusters(3);
  for (uint64_t i = 0; i < 3; ++i) builder.put_data_at(2 + i, host + i * kCluster, 1);
  const auto image = builder.open_parts();
  qcow2::GuestRun run = run_at(*image, 0);
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
  const qcow2::GuestRun run = run_at(*image, 2 * kCluster + 7);
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
  const qcow2::GuestRun run = run_at(*image, 12345);
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
  const qcow2::GuestRun run = run_at(*image, (per_slice - 1) * kCluster, kCluster);
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
  qcow2::GuestRun run = run_at(*image, 10);
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
  const qcow2::GuestRun run = run_at(*image, 31 * kCluster / 32);
  EXPECT_EQ(run.length, 2 * kCluster / 32);
}

TEST(Mapping, RefusesAnL2TableInsideACluster) {
  ImageBuilder builder;
  builder.set_l1(0, layout::L1Entry::table(HostOffset(0x40200), true));
  const auto image = builder.open_parts();
  const ErrorData refused = refusal(*image, 0);
  EXPECT_EQ(refused.code, "qcow2-l2-table-unaligned");
  EXPECT_EQ(refused.value, 0x40200);
  EXPECT_EQ(refused.index, 0);
}

TEST(Mapping, RefusesAClusterThatIsNotAligned) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  builder.set_l2(3, layout::L2Entry(0x50200 | layout::L2Entry::kCopied));
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 2 * kCluster).length, kCluster);
  const ErrorData refused = refusal(*image, 3 * kCluster);
  EXPECT_EQ(refused.code, "qcow2-cluster-unaligned");
  EXPECT_EQ(refused.value, 0x50200);
  EXPECT_EQ(refused.index, 3);
  const layout::L1Entry l1_entry(image->tables.l1.entry(0));
  EXPECT_EQ(refused.offset, l1_entry.offset().value());
}

TEST(Mapping, RefusesAZeroFlagInVersion2) {
  ImageBuilder builder({.version = 2});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kZero));
  const auto image = builder.open_parts();
  EXPECT_EQ(refusal(*image, 0).code, "qcow2-zero-flag-in-version-2");
}

TEST(Mapping, RefusesSubclustersThatContradictThemselves) {
  ImageBuilder builder({.extended_l2 = true});
  builder.set_l2(0, layout::L2Entry(builder.take_clusters(1).value(), 1 | uint64_t{1} << 32));
  const auto image = builder.open_parts();
  EXPECT_EQ(refusal(*image, 0).code, "qcow2-l2-entry-invalid");
  // The whole entry is invalid then, as in QEMU.
  EXPECT_EQ(refusal(*image, 2048).code, "qcow2-l2-entry-invalid");
}

TEST(Mapping, RefusesADataFileOffsetThatIsNotTheGuestOffset) {
  ImageBuilder builder({.external_data_file = true});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCopied));
  builder.set_l2(1, layout::L2Entry(2 * kCluster | layout::L2Entry::kCopied));
  const auto image = builder.open_parts();
  EXPECT_EQ(run_at(*image, 0).kind, RunKind::kData);
  EXPECT_EQ(run_at(*image, 0).length, kCluster);
  const ErrorData refused = refusal(*image, kCluster);
  EXPECT_EQ(refused.code, "qcow2-data-file-offset-wrong");
  EXPECT_EQ(refused.value, 0x20000);
  EXPECT_EQ(refused.bound, 0x10000);
  EXPECT_EQ(refused.index, 1);
}

TEST(Mapping, RefusesCompressedClustersInAnImageWithADataFile) {
  ImageBuilder builder({.external_data_file = true});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCompressed | 0x50000));
  const auto image = builder.open_parts();
  EXPECT_EQ(refusal(*image, 0).code, "qcow2-compressed-entry-with-data-file");
}

TEST(Mapping, ACompressedClusterBeyondEveryFileIsStillCompressed) {
  ImageBuilder builder({.size = 4 * 512, .cluster_bits = 9});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCompressed | (uint64_t{1} << 56)));
  const auto image = builder.open_parts();
  const qcow2::GuestRun run = run_at(*image, 0);
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
  std::vector<Warning> warnings;
  OpenOptions options;
  options.on_warning = [&](const Warning& warning) { warnings.push_back(warning); };
  const auto image = builder.open_parts(options);
  refusal(*image, 0);
  refusal(*image, 0);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].kind, WarningKind::kCorrupt);
  EXPECT_EQ(warnings[0].problem.message(),
            "'test.qcow2': L1 entry 0 has the L2 table offset 0x40200, not a multiple of the "
            "cluster size 65536");
}

}  // namespace
}  // namespace byre::qcow2
