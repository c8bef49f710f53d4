// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/image_builder.h"

namespace byre::qcow2 {
namespace {

using storage::MemoryDevice;
using test::compressible;
using test::ImageBuilder;
using test::pattern;
using testing::ElementsAre;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kCluster = 65536;

// "2+1 d1 data @7": in clusters from the start; the depth; p(resent), d(ata), z(ero), c(ompressed).
std::vector<std::string> extents(Image& image, ExtentScope scope = ExtentScope::kChain,
                                 uint64_t unit = kCluster) {
  std::vector<std::string> result;
  uint64_t offset = 0;
  while (offset < image.size()) {
    for (const Extent& extent : sync_wait(image.extents(offset, image.size() - offset, scope))) {
      EXPECT_EQ(extent.offset, offset);
      offset += extent.length;
      std::string text = std::to_string(extent.offset / unit) + "+" +
                         std::to_string(extent.length / unit) + " " + std::to_string(extent.depth) +
                         " " + (extent.present ? "p" : "-") + (extent.data ? "d" : "-") +
                         (extent.zero ? "z" : "-") + (extent.compressed ? "c" : "-");
      if (extent.host_offset) text += " @" + std::to_string(*extent.host_offset / unit);
      EXPECT_EQ(extent.host_offset.has_value(), extent.file != nullptr);
      result.push_back(text);
    }
  }
  return result;
}

TEST(ImageExtents, ShowEveryStateOfACluster) {
  ImageBuilder builder({.size = 10 * kCluster});
  const layout::Geometry shape = builder.geometry();
  builder.l2_table(0);
  const HostOffset host = builder.take_clusters(4);
  builder.put_data_at(1, host, 1);
  builder.put_data_at(2, host + kCluster, 1);
  builder.put_data_at(3, host + 3 * kCluster, 1);
  builder.set_l2(4, layout::L2Entry::zero_plain(shape));
  builder.set_l2(5, layout::L2Entry::zero_allocated(host + 2 * kCluster, true, shape));
  builder.put_compressed(6, compressible(kCluster, 1));
  builder.put_compressed(7, compressible(kCluster, 2));
  const auto image = builder.open();
  EXPECT_THAT(extents(*image),
              ElementsAre("0+1 0 --z-", "1+2 0 pd-- @4", "3+1 0 pd-- @7", "4+1 0 p-z-",
                          "5+1 0 p-z- @6", "6+1 0 pd-c", "7+1 0 pd-c", "8+2 0 --z-"));
}

TEST(ImageExtents, AnUnallocatedDiskIsOneExtentHoweverLarge) {
  auto owned = ImageBuilder({.size = uint64_t{2} << 40}).open_parts();
  const TableCache& l2_cache = owned->tables.l2_cache;
  const auto image = std::make_unique<Image>(std::move(owned));
  const auto all = sync_wait(image->extents(0, image->size(), ExtentScope::kChain));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].length, image->size());
  EXPECT_EQ(l2_cache.reads(), 0u);
}

TEST(ImageExtents, AnEmptyRangeHasNoneAndOneOutsideIsRefused) {
  const auto image = ImageBuilder().open();
  EXPECT_TRUE(sync_wait(image->extents(5, 0, ExtentScope::kChain)).empty());
  EXPECT_THROW(sync_wait(image->extents(0, image->size() + 1, ExtentScope::kChain)), Error);
}

TEST(ImageExtents, FollowTheChainAndStopAtTheEndOfAShorterBackingFile) {
  ImageBuilder lower({.size = 3 * kCluster});
  lower.l2_table(0);
  lower.put_data(1, 1);
  ImageBuilder upper({.size = 6 * kCluster, .backing_filename = "lower"});
  upper.l2_table(0);
  upper.put_data(0, 1);
  auto below = lower.open();
  const auto image = upper.open();
  image->set_backing(std::move(below));
  EXPECT_THAT(extents(*image),
              ElementsAre("0+1 0 pd-- @4", "1+1 1 pd-- @4", "2+1 1 --z-", "3+3 0 --z-"));
  EXPECT_THAT(extents(*image, ExtentScope::kLayer),
              ElementsAre("0+1 0 pd-- @4", "1+2 0 ----", "3+3 0 --z-"));
}

TEST(ImageExtents, ABackingFileIsNotSeenPastTheOverlaysEnd) {
  ImageBuilder builder({.size = 2 * kCluster, .backing_filename = "raw"});
  const auto image = builder.open();
  image->set_backing(std::make_unique<MemoryDevice>(ConstBytes(pattern(0, 5 * kCluster, 1))));
  const auto all = sync_wait(image->extents(0, image->size(), ExtentScope::kChain));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].length, 2 * kCluster);
  EXPECT_EQ(all[0].depth, 1u);
}

TEST(ImageExtents, SubclustersOfAnAllocatedClusterHaveAHostOffset) {
  ImageBuilder builder({.size = 2 * kCluster, .extended_l2 = true});
  builder.l2_table(0);
  const HostOffset host = builder.take_clusters(1);
  builder.set_l2(0, layout::L2Entry(host.value() | layout::L2Entry::kCopied,
                                    uint64_t{0x3} | uint64_t{0xc} << 32));
  const auto image = builder.open();
  const uint64_t unit = kCluster / 32;
  EXPECT_EQ(host.value() / unit, 128u);
  EXPECT_THAT(
      extents(*image, ExtentScope::kChain, unit),
      ElementsAre("0+2 0 pd-- @128", "2+2 0 p-z- @130", "4+28 0 --z- @132", "32+32 0 --z-"));
}

TEST(ImageExtents, ManyExtentsTakeSeveralCalls) {
  const uint64_t clusters = 10000;
  ImageBuilder builder({.size = clusters * 512, .cluster_bits = 9});
  for (uint64_t i = 0; i < clusters; i += 2) {
    builder.set_l2(i, layout::L2Entry::zero_plain(builder.geometry()));
  }
  const auto image = builder.open();
  EXPECT_EQ(extents(*image, ExtentScope::kLayer, 512).size(), clusters);
  EXPECT_LT(sync_wait(image->extents(0, image->size(), ExtentScope::kLayer)).size(), clusters);
}

TEST(ImageExtents, BrokenEntriesAreErrors) {
  ImageBuilder builder;
  builder.set_l2(0, layout::L2Entry(0x50200 | layout::L2Entry::kCopied));
  const auto image = builder.open();
  EXPECT_THROW(extents(*image), Error);
}

// An image whose file has holes under data clusters, as preallocation of metadata leaves them.
std::unique_ptr<Image> preallocated(bool with_refcounts) {
  ImageBuilder builder({.size = 40 * kCluster});
  builder.l2_table(0);
  const HostOffset block = builder.take_clusters(1);
  const HostOffset host = builder.take_clusters(40);
  for (uint64_t i = 0; i < 40; ++i) {
    builder.set_l2(i, layout::L2Entry::normal(host + i * kCluster, true, builder.geometry()));
  }
  builder.file().put((host + 3 * kCluster).value(), pattern(0, kCluster, 1));
  if (with_refcounts) {
    builder.put_word(builder.first_cluster.header.refcount_table_offset, block.value());
    for (uint64_t i = 0; i < 45; ++i) builder.file().put(block.value() + i * 2 + 1, Contents{1});
  }
  // The last cluster is past the end of the file.
  sync_wait(builder.file().resize((host + 39 * kCluster).value(), Preallocation::kOff));
  return builder.open();
}

TEST(ImageExtents, HolesBelowPreallocatedClustersAreZero) {
  const auto image = preallocated(true);
  EXPECT_TRUE(sync_wait(image->extents(0, 1, ExtentScope::kChain)).front().zero);
  EXPECT_THAT(extents(*image), ElementsAre("0+3 0 pdz- @5", "3+1 0 pd-- @8", "4+36 0 pdz- @9"));
}

TEST(ImageExtents, WithoutSignsOfPreallocationHolesOfTheFileAreIgnored) {
  // According to its refcounts the image uses nothing.
  EXPECT_THAT(extents(*preallocated(false)), ElementsAre("0+40 0 pd-- @5"));
}

TEST(ImageExtents, WarnOfABadEntryOnlyIfItIsReached) {
  ImageBuilder builder({.size = 4 * kCluster});
  builder.l2_table(0);
  builder.set_l2(0, layout::L2Entry::zero_plain(builder.geometry()));
  builder.set_l2(1, layout::L2Entry(0x50200 | layout::L2Entry::kCopied));
  std::vector<WarningKind> warnings;
  OpenOptions options;
  options.on_warning = [&warnings](const Warning& warning) { warnings.push_back(warning.kind); };
  const auto image = builder.open(options);
  EXPECT_EQ(sync_wait(image->extents(0, 4 * kCluster, ExtentScope::kChain)).size(), 1u);
  EXPECT_TRUE(warnings.empty());
  EXPECT_THROW(sync_wait(image->extents(kCluster, kCluster, ExtentScope::kChain)), Error);
  EXPECT_EQ(warnings, std::vector{WarningKind::kCorrupt});
}

TEST(ImageExtents, EndInAnErrorBeforeAContradictorySubcluster) {
  ImageBuilder builder({.size = 4 * kCluster, .extended_l2 = true});
  builder.l2_table(0);
  const HostOffset host = builder.take_clusters(1);
  builder.set_l2(0, layout::L2Entry::normal(host, true, builder.geometry()));
  builder.set_l2(1, layout::L2Entry(0, 1));
  const auto image = builder.open();
  EXPECT_THROW(sync_wait(image->extents(0, 4 * kCluster, ExtentScope::kChain)), Error);
}

}  // namespace
}  // namespace byre::qcow2
