// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/version_change.h"

#include "unit/qcow2/amend/amended_image.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 2 * kMiB;

class VersionChangeTest : public AmendTest {
 protected:
  // Zero clusters of both kinds, in the disk, in a snapshot and in what they share.
  void fill(const Layout& layout) {
    names_.clear();
    backing_size_ = layout.backing_size;
    open(layout);
    const uint64_t cluster = layout.create.cluster_size;
    write(0, pattern(0, kMiB, 1));
    zero(0, 4 * cluster);
    zero(8 * cluster, 4 * cluster, WriteFlags::kMayUnmap);
    create("one");
    // Data of the snapshot's that the disk has as allocated zero clusters, and the reverse.
    zero(16 * cluster, 4 * cluster);
    write(2 * cluster, pattern(0, cluster, 2));
    zero(kMiB + 64 * kKiB, 64 * kKiB, WriteFlags::kMayUnmap);
    create("two");
    zero(24 * cluster, 2 * cluster);
    zero(kSize - cluster, cluster);
    flush();
  }
  std::string kinds() {
    std::string all;
    for (const Extent& extent : extents()) all += extent.zero ? "z" : "d";
    return all;
  }
};

Layout with_backing(Layout layout, uint64_t size) {
  layout.backing_size = size;
  layout.create.backing_filename = "backing";
  return layout;
}

std::vector<Layout> layouts() {
  std::vector<Layout> layouts;
  for (const uint64_t cluster_size : {512u, 4096u, 65536u}) {
    layouts.push_back(layout_of(kSize, cluster_size));
    layouts.push_back(with_backing(layout_of(kSize, cluster_size), kSize));
    layouts.push_back(with_backing(layout_of(kSize, cluster_size), kMiB + 100 * kKiB));
  }
  Layout lazy = layout_of(kSize, kCluster);
  lazy.create.lazy_refcounts = true;
  layouts.push_back(lazy);
  return layouts;
}

TEST_F(VersionChangeTest, ThereAndBackEverythingReadsTheSame) {
  for (const Layout& layout : layouts()) {
    SCOPED_TRACE(testing::Message()
                 << layout.create.cluster_size << " " << layout.backing_size.value_or(0));
    fill(layout);
    const Contents before = contents();
    downgrade();
    EXPECT_EQ(image().header().version, 2u);
    const layout::Header header = header_in_file();
    EXPECT_EQ(header.version, 2u);
    EXPECT_EQ(image().backing_filename(), layout.create.backing_filename.value_or(""));
    EXPECT_EQ(contents(), before);
    expect_sound(opened_.snapshot(), false);
    // Version 2 has no zero clusters to make.
    zero(20 * layout.create.cluster_size, 2 * layout.create.cluster_size);
    write(0, pattern(0, 100'000, 7));
    flush();
    expect_sound(opened_.snapshot(), true);
    const Contents between = contents();
    reopen(layout);
    upgrade();
    EXPECT_EQ(header_in_file().version, 3u);
    EXPECT_EQ(contents(), between);
    EXPECT_EQ(Contents(between.begin() + 1, between.end()),
              Contents(before.begin() + 1, before.end()));
    zero(0, 8 * layout.create.cluster_size, WriteFlags::kMayUnmap);
    close_and_check();
  }
}

TEST_F(VersionChangeTest, WithoutABackingFileZeroesBecomeUnallocated) {
  open(layout_of(kSize, kCluster));
  zero(0, kSize, WriteFlags::kMayUnmap);
  flush();
  const uint64_t size = opened_.file->size();
  downgrade();
  EXPECT_EQ(opened_.file->size(), size);
  EXPECT_FALSE(extents().front().present);
  close_and_check();
}

// A snapshot has zero clusters with the clusters that are data of the disk. These become the disk's
// alone, which its copied flags must say.
TEST_F(VersionChangeTest, ClustersThatOnlyTheDiskHasAfterwardsHaveTheCopiedFlag) {
  for (const std::optional<uint64_t>& backing : {std::optional<uint64_t>(), {kSize}}) {
    Layout layout = layout_of(kSize, kCluster);
    if (backing) layout = with_backing(layout, *backing);
    names_.clear();
    backing_size_ = backing;
    open(layout);
    write(0, pattern(0, 16 * kCluster, 1));
    create("one");
    zero(4 * kCluster, 4 * kCluster);
    create("two");
    loop_.run(image().apply_snapshot({.name = "one"}));
    loop_.run(image().delete_snapshot({.name = "one"}));
    names_ = {"two"};
    const Contents before = contents();
    downgrade();
    expect_sound(opened_.snapshot(), true);
    EXPECT_EQ(contents(), before);
    write(0, pattern(0, 16 * kCluster, 2));
    close_and_check();
    EXPECT_EQ(contents()[1], before[1]);
  }
}

TEST_F(VersionChangeTest, WithABackingFileZeroesGetClustersWithoutTakingSpace) {
  open(with_backing(layout_of(kSize, kCluster), kSize));
  zero(0, kSize, WriteFlags::kMayUnmap);
  flush();
  downgrade();
  EXPECT_EQ(read(0, kSize), std::vector<uint8_t>(kSize));
  EXPECT_GE(opened_.file->size(), kSize);
  EXPECT_LT(*opened_.file_memory->allocated_size(), kSize / 2);
  close_and_check();
}

TEST_F(VersionChangeTest, WhatVersion2DoesNotHaveIsRefused) {
  const auto refused = [&](const Layout& layout, const std::string& code) {
    open(layout);
    EXPECT_EQ(refusal([&] { downgrade(); }).data().code, code);
    EXPECT_EQ(image().header().version, 3u);
    close_and_check();
  };
  Layout layout = layout_of(kSize, kCluster);
  layout.create.refcount_bits = 8;
  refused(layout, "qcow2-downgrade-with-refcount-bits");
  layout = layout_of(kSize, kCluster);
  layout.create.data_filename = "data";
  refused(layout, "qcow2-downgrade-with-data-file");
  layout = layout_of(kSize, 16384);
  layout.create.extended_l2 = true;
  refused(layout, "qcow2-downgrade-with-features");
  layout = layout_of(kSize, kCluster);
  layout.create.compression_type = CompressionType::kZstd;
  refused(layout, "qcow2-downgrade-with-features");
  open(layout_of(kSize, kCluster));
  create("small");
  loop_.run(image().resize(2 * kSize, Preallocation::kOff));
  EXPECT_EQ(refusal([&] { downgrade(); }).data().code, "qcow2-downgrade-with-snapshots");
  loop_.run(image().resize(kSize, Preallocation::kOff));
  downgrade();
  close_and_check();
}

TEST_F(VersionChangeTest, BitmapsAreRefusedOrRemovedWithTheirClusters) {
  const Layout layout = layout_of(kSize, 65536);
  open(disks_with_bitmaps(layout, {{"one", layout::bitmap_flag::kAuto}, {"two", 0}}), layout);
  EXPECT_EQ(refusal([&] { downgrade(); }).data().code, "qcow2-downgrade-with-bitmaps");
  EXPECT_EQ(image().bitmaps().size(), 2u);
  downgrade(true);
  EXPECT_TRUE(image().bitmaps().empty());
  close_and_check();
  open(opened_.snapshot(), layout);
  EXPECT_FALSE(image().extensions().bitmaps);
  EXPECT_FALSE(image().extensions().stale_bitmaps);
  close_and_check();
}

// Version 2 as old programs wrote it: without extra data.
TEST_F(VersionChangeTest, SnapshotsGetTheFieldsOfVersion3) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.version = 2;
  Disks disks = shared_disks(layout, pattern(0, 100'000, 1));
  const uint64_t table = load_big_endian<uint64_t>(disks.file->get(64, 8).data());
  std::vector<uint8_t> entry = disks.file->get(table, disks.file->size() - table);
  // The extra data goes from between the fixed part and the id.
  store_big_endian<uint32_t>(entry.data() + 36, 0);
  entry.erase(entry.begin() + 40, entry.begin() + 56);
  disks.file->put(table, entry);
  names_ = {"before"};
  open(std::move(disks), layout);
  ASSERT_FALSE(image().snapshots().front().disk_size);
  const Contents before = contents();
  upgrade();
  EXPECT_EQ(image().snapshots().front().disk_size, kSize);
  EXPECT_EQ(contents(), before);
  close_and_check();
  open(opened_.snapshot(), layout);
  EXPECT_EQ(image().header().version, 3u);
  EXPECT_EQ(image().snapshots().front().disk_size, kSize);
  EXPECT_TRUE(image().snapshots().front().has_large_vm_state_size);
  EXPECT_TRUE(image().extensions().feature_names.has_value() == false);
  close_and_check();
}

TEST_F(VersionChangeTest, LazyRefcountsAreWrittenBeforeTheyEnd) {
  Layout layout = layout_of(kSize, kCluster);
  open(layout);
  write(0, pattern(0, kMiB, 1));
  loop_.run(image().set_lazy_refcounts(true));
  EXPECT_TRUE(header_in_file().has_lazy_refcounts());
  EXPECT_TRUE(header_in_file().is_dirty());
  write(kMiB, pattern(0, kMiB, 2));
  flush();
  loop_.run(image().set_lazy_refcounts(false));
  EXPECT_FALSE(header_in_file().has_lazy_refcounts());
  EXPECT_FALSE(header_in_file().is_dirty());
  expect_sound(opened_.snapshot(), false);
  close_and_check();
}

TEST_F(VersionChangeTest, TheDataFileGetsAnotherName) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  open(layout);
  write(0, pattern(0, kMiB, 1));
  loop_.run(image().set_data_filename("another/place"));
  loop_.run(image().clear_raw_external_data());
  reopen(layout);
  EXPECT_EQ(image().data_filename(), "another/place");
  EXPECT_FALSE(image().header().has_raw_external_data());
  EXPECT_EQ(read(0, kMiB), pattern(0, kMiB, 1));
  loop_.run(image().set_data_filename(""));
  reopen(layout);
  EXPECT_EQ(image().data_filename(), "");
  EXPECT_TRUE(image().has_external_data_file());
  close_and_check();
}

TEST_F(VersionChangeTest, AFailureAtAnyRequestIsNoHalfWay) {
  using faults::Operation;
  for (const Operation operation : {Operation::kRead, Operation::kWrite, Operation::kFlush}) {
    bool has_failed = true;
    for (uint64_t number = 1; has_failed; ++number) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(operation) << " " << number);
      fill(with_backing(layout_of(kSize, kCluster), kMiB));
      const Contents before = contents();
      opened_.file->add_rule({.operation = operation, .first = number});
      has_failed = false;
      try {
        downgrade();
      } catch (const Error&) {
        has_failed = true;
      }
      expect_sound(opened_.snapshot(), true);
      EXPECT_EQ(contents(), before);
      EXPECT_TRUE(has_failed || header_in_file().version == 2);
      try {
        loop_.run(image().close());
      } catch (const Error&) {
      }
      expect_sound(opened_.snapshot(), true);
      EXPECT_EQ(contents(), before);
    }
  }
}

}  // namespace
}  // namespace byre::qcow2::test
