// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/cluster_sharing.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 4 * kMiB;

NewSnapshot named(std::string name) {
  NewSnapshot snapshot;
  snapshot.name = std::move(name);
  return snapshot;
}

class ClusterSharingTest : public WritingTest {
 protected:
  void snapshot(const std::string& name) { loop_.run(image().create_snapshot(named(name))); }
  void share(size_t index, uint64_t offset, uint64_t length) {
    loop_.run(image().share_with_snapshot(index, offset, length));
  }
  uint64_t file_size() { return opened_.file_memory->size(); }
};

std::vector<Layout> layouts() {
  std::vector<Layout> layouts;
  for (const uint64_t cluster : {uint64_t{512}, kCluster, 2 * kMiB}) {
    layouts.push_back(layout_of(kSize, cluster));
  }
  layouts.push_back(layout_of(kSize - 512, 65536));
  Layout old = layout_of(kSize, kCluster);
  old.create.version = 2;
  layouts.push_back(old);
  Layout extended = layout_of(kSize, 16384);
  extended.create.extended_l2 = true;
  layouts.push_back(extended);
  Layout lazy = layout_of(kSize, 65536);
  lazy.create.lazy_refcounts = true;
  layouts.push_back(lazy);
  return layouts;
}

TEST_F(ClusterSharingTest, ARangeIsAgainAsInASnapshotAndTakesNoSpace) {
  for (const Layout& layout : layouts()) {
    open(layout);
    const uint64_t size = layout.create.size;
    write(0, pattern(0, 3 * kMiB, 1));
    zero(kMiB, 100 * kKiB);
    const std::vector<uint8_t> before = read(0, size);
    snapshot("one");
    write(0, pattern(0, size, 2));
    const std::vector<uint8_t> after = read(0, size);
    snapshot("two");
    flush();
    const uint64_t used = file_size();
    share(0, 0, 2 * kMiB);
    share(0, 2 * kMiB, size - 2 * kMiB);
    EXPECT_EQ(read(0, size), before);
    share(1, 0, 2 * kMiB);
    EXPECT_EQ(read(0, 2 * kMiB), std::vector<uint8_t>(after.begin(), after.begin() + 2 * kMiB));
    flush();
    EXPECT_LE(file_size(), used + 3 * std::max(layout.create.cluster_size, kSize / 32));
    write(100, pattern(0, 70'000, 3));
    loop_.run(image().apply_snapshot({.id_or_name = "one"}));
    EXPECT_EQ(read(0, size), before);
    loop_.run(image().apply_snapshot({.id_or_name = "two"}));
    EXPECT_EQ(read(0, size), after);
    loop_.run(image().delete_snapshot({.name = "one"}));
    EXPECT_EQ(read(0, size), after);
    close_and_check();
  }
}

TEST_F(ClusterSharingTest, CompressedClustersAreShared) {
  open(layout_of(kSize, kCluster));
  const std::vector<uint8_t> bytes = compressible(0, 64 * kCluster, 1);
  write(0, bytes, WriteFlags::kCompressed);
  snapshot("one");
  write(0, pattern(0, bytes.size(), 2));
  share(0, 0, bytes.size());
  EXPECT_EQ(read(0, bytes.size()), bytes);
  loop_.run(image().delete_snapshot({.name = "one"}));
  EXPECT_EQ(read(0, bytes.size()), bytes);
  close_and_check();
}

TEST_F(ClusterSharingTest, AClusterThatTheDiskHasAlreadyIsNotCountedTwice) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kMiB, 1));
  snapshot("one");
  write(0, pattern(0, kMiB / 2, 2));
  share(0, 0, kMiB);
  EXPECT_EQ(read(0, kMiB), pattern(0, kMiB, 1));
  share(0, 0, kMiB);
  EXPECT_EQ(read(0, kMiB), pattern(0, kMiB, 1));
  close_and_check();
}

TEST_F(ClusterSharingTest, SubclustersAreThoseOfTheSnapshot) {
  Layout layout = layout_of(kSize, 65536);
  layout.create.extended_l2 = true;
  open(layout);
  write(0, pattern(0, 32 * kKiB, 1));
  const std::vector<uint8_t> before = read(0, 128 * kKiB);
  snapshot("one");
  zero(4 * kKiB, 8 * kKiB);
  write(40 * kKiB, pattern(0, 2 * kKiB, 2));
  share(0, 0, 128 * kKiB);
  EXPECT_EQ(read(0, 128 * kKiB), before);
  loop_.run(image().delete_snapshot({.name = "one"}));
  EXPECT_EQ(read(0, 128 * kKiB), before);
  close_and_check();
}

TEST_F(ClusterSharingTest, WhatIsUnallocatedShowsTheBackingFile) {
  for (const uint32_t version : {2u, 3u}) {
    Layout layout = layout_of(kSize - 512, 65536);
    layout.create.version = version;
    layout.create.backing_filename = "base";
    layout.backing_size = kSize;
    open(layout);
    write(0, pattern(0, kSize - 512, 1));
    snapshot("one");
    loop_.run(image().unallocate(65536, kSize - 512 - 65536));
    const std::vector<uint8_t> base = backing_bytes(kSize);
    EXPECT_EQ(read(0, 65536), pattern(0, 65536, 1));
    EXPECT_EQ(read(65536, kSize - 512 - 65536),
              std::vector<uint8_t>(base.begin() + 65536, base.end() - 512));
    share(0, 65536, kSize - 512 - 65536);
    EXPECT_EQ(read(0, kSize - 512), pattern(0, kSize - 512, 1));
    close_and_check();
  }
}

TEST_F(ClusterSharingTest, ARefcountAtItsMaximumIsRefusedAndNothingChanges) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.refcount_bits = 2;
  open(layout);
  write(0, pattern(0, kMiB, 1));
  snapshot("one");
  snapshot("two");
  // The disk's references are counted until its new entries are on disk.
  write(0, pattern(0, kMiB, 2));
  const Error error = refusal([&] { share(0, 0, kMiB); });
  EXPECT_EQ(error.errno_value(), EINVAL);
  EXPECT_EQ(read(0, kMiB), pattern(0, kMiB, 2));
  flush();
  share(0, 0, kMiB);
  EXPECT_EQ(read(0, kMiB), pattern(0, kMiB, 1));
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
