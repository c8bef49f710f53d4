// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/allocator.h"

#include "qcow2/image/image_parts.h"
#include "qcow2/layout/refcount_entry.h"
#include "testing/simulated_disk.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

class Allocations : public WritingTest {
 protected:
  std::optional<uint64_t> place_of(uint64_t offset) {
    return loop_.run(image().extents(offset, 512, ExtentScope::kLayer))[0].host_offset;
  }
  uint64_t refcount_reads() { return parts().tables.refcount_cache.reads(); }
};

// An image of 512-byte clusters and 64-bit refcounts, whose file is full: the refcount blocks for
// one MiB take 16 KiB.
class FullImage : public Allocations {
 protected:
  void SetUp() override {
    layout_ = layout_of(44 * kMiB, 512);
    layout_.create.refcount_bits = 64;
    open(layout_);
    write(0, pattern(0, 40 * kMiB, 1));
    close_and_check();
    disks_ = opened_.snapshot();
  }
  Layout layout_;
  Disks disks_;
};

TEST_F(FullImage, TheFirstAllocationAfterOpeningLooksAtABoundedNumberOfRefcounts) {
  open(clone(disks_), layout_);
  write(41 * kMiB, pattern(0, 512, 1));
  // Two allocations, for the data and its L2 table: each looks at 64 KiB of refcounts, in slices of
  // 512 bytes, and one of them also at the end. Looking at all would take 640 KiB.
  EXPECT_LE(refcount_reads(), 2 * 128u + 8);
  EXPECT_GE(*place_of(41 * kMiB), 40 * kMiB);
  close_and_check();
}

TEST_F(FullImage, HolesAreFoundAndFilledGradually) {
  open(clone(disks_), layout_);
  discard(30 * kMiB, kMiB);  // 2048 clusters
  close_and_check();
  open(opened_.snapshot(), layout_);
  const uint64_t size = opened_.file_memory->size();
  write(41 * kMiB, pattern(0, 512, 1));
  EXPECT_GE(*place_of(41 * kMiB), size - 512);  // at the end: the hole is too far away
  // Each allocation searches a little further.
  for (uint64_t i = 1; i < 1900; ++i) write(41 * kMiB + i * 512, pattern(0, 512, 1));
  flush();
  EXPECT_LT(opened_.file_memory->size(), size + 64 * kKiB);
  close_and_check();
}

TEST_F(FullImage, ADeviceThatDoesNotGrowIsSearchedForHolesBeforeItIsFull) {
  open(clone(disks_), layout_);
  discard(11 * kMiB, 64 * 1024);
  close_and_check();
  faults::SimulatedDisk::Options fixed;
  fixed.grows = false;
  faults::SimulatedCache contents(opened_.snapshot().file->contents());
  auto disk = std::make_unique<faults::SimulatedDisk>(std::move(contents), fixed);
  const std::unique_ptr<Image> image = loop_.run(Image::open(std::move(disk), for_writing()));
  for (uint64_t i = 0; i < 100; ++i) {
    const std::vector<uint8_t> bytes = pattern(0, 512, i);
    loop_.run(image->write(41 * kMiB + i * 512, ConstBytes(bytes)));
  }
  const std::vector<uint8_t> now = loop_.run(read_all(image.get()));
  for (uint64_t i = 0; i < 100; ++i) {
    const std::vector<uint8_t> bytes = pattern(0, 512, i);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(),
                           now.begin() + static_cast<ptrdiff_t>(41 * kMiB + i * 512)));
  }
  loop_.run(image->close());
}

TEST_F(Allocations, ARefcountAtItsMaximumIsRefusedAndNothingChanges) {
  for (uint32_t bits = 1; bits <= 64; bits *= 2) {
    SCOPED_TRACE(bits);
    Layout layout = layout_of(kMiB, 65536);
    layout.create.refcount_bits = static_cast<int>(bits);
    open(layout);
    write(0, pattern(0, 65536, 1));
    Refcounts& refcounts = parts().write_parts().refcounts;
    const layout::Geometry& geometry = image().geometry();
    const ClusterRange range{geometry.cluster_of(layout::HostOffset(*place_of(0))), 1};
    EXPECT_EQ(geometry.refcount_max(), bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1);
    // Set by hand to one below the maximum, which would take too long to reach.
    const auto set = [&](uint64_t value) {
      const uint64_t block = refcounts.block_offset(0).value();
      const uint32_t slice_size = parts().tables.refcount_cache.slice_size();
      const TableCache::Slice slice =
          loop_.run(parts().tables.refcount_cache.get(block / slice_size * slice_size));
      layout::store_refcount(slice.bytes(), range.first.value(), geometry.refcount_order(), value);
    };
    set(geometry.refcount_max());
    const Error error = refusal([&] { loop_.run(refcounts.add(range)); });
    EXPECT_EQ(error.errno_value(), EINVAL);
    EXPECT_EQ(loop_.run(refcounts.get(range.first)), geometry.refcount_max());
    if (bits > 1) {
      set(geometry.refcount_max() - 1);
      loop_.run(refcounts.add(range));
      EXPECT_EQ(loop_.run(refcounts.get(range.first)), geometry.refcount_max());
    }
    set(1);
    close_and_check();
  }
}

// With 1-bit refcounts a compressed cluster cannot share a host cluster.
TEST_F(Allocations, CompressedClustersShareAClusterUpToItsMaximumRefcount) {
  for (const auto& [bits, clusters] : {std::pair{1, 6}, std::pair{2, 2}, std::pair{16, 1}}) {
    Layout layout = layout_of(kMiB, 65536);
    layout.create.refcount_bits = bits;
    open(layout);
    write(8 * 65536, pattern(0, 512, 1));  // creates the tables
    flush();
    const uint64_t before = (opened_.file_memory->size() + 65535) / 65536;
    for (uint64_t i = 0; i < 6; ++i) {
      write(i * 65536, compressible(i * 65536, 65536, i), WriteFlags::kCompressed);
    }
    for (uint64_t i = 0; i < 6; ++i) {
      EXPECT_EQ(read(i * 65536, 65536), compressible(i * 65536, 65536, i));
    }
    flush();
    EXPECT_EQ((opened_.file_memory->size() + 65535) / 65536 - before,
              static_cast<uint64_t>(clusters))
        << bits;
    close_and_check();
  }
}

// `next` is claimed before the cluster whose reference cannot be counted.
TEST_F(Allocations, AClusterClaimedForBytesThatGetNoPlaceIsFreeAgain) {
  constexpr uint64_t kBytes = 300;
  Layout layout = layout_of(kMiB, 512);
  layout.create.refcount_bits = 64;
  open(layout);
  write(0, pattern(0, 512, 1));
  Allocator& allocator = parts().write_parts().allocator;
  Refcounts& refcounts = parts().write_parts().refcounts;
  TableCache& cache = parts().tables.refcount_cache;
  const layout::Geometry& geometry = image().geometry();
  // All of these get their refcount blocks, of 64 refcounts each.
  const ClusterRange room = loop_.run(allocator.allocate_all(200));
  loop_.run(allocator.free(room));
  std::vector<ClusterRange> packed;
  HostOffset end;
  do {
    const HostOffset at = loop_.run(allocator.allocate_bytes(kBytes));
    end = at + kBytes;
    const HostCluster first = geometry.cluster_of(at);
    packed.push_back({first, geometry.cluster_of(end - 1) - first + 1});
  } while (geometry.cluster_of(end).value() % 64 != 63 ||
           geometry.offset_in_cluster(end) + kBytes <= 512);
  const HostCluster last = geometry.cluster_of(end);
  loop_.run(cache.write_back());
  const HostOffset block = refcounts.block_offset(refcounts.table_index(last));
  loop_.run(cache.invalidate(block.value(), 512));
  opened_.file->add_rule(
      {.operation = faults::Operation::kRead, .offset = block.value(), .length = 512});
  const Error error = refusal([&] { loop_.run(allocator.allocate_bytes(kBytes)); });
  EXPECT_EQ(error.errno_value(), EIO);
  EXPECT_EQ(loop_.run(refcounts.get(last + 1)), 0u);
  opened_.file->heal();
  for (const ClusterRange& range : packed) loop_.run(allocator.free(range));
  close_and_check();
}

TEST_F(Allocations, RefcountTablesGrowAtEveryWidth) {
  for (int bits = 1; bits <= 64; bits *= 2) {
    SCOPED_TRACE(bits);
    // One refcount block counts 4096 / bits clusters of 512 bytes; one cluster of the table has 64
    // entries.
    const uint64_t reach = uint64_t{4096} / static_cast<uint64_t>(bits) * 512 * 64;
    const uint64_t size = std::min<uint64_t>(reach + kMiB, 20 * kMiB);
    Layout layout = layout_of(size, 512);
    layout.create.refcount_bits = bits;
    open(layout);
    const std::vector<uint8_t> bytes = pattern(0, size, 1);
    write(0, bytes);
    if (size > reach) EXPECT_GT(image().header().refcount_table_clusters, 1u);
    EXPECT_EQ(first_difference(read(0, size), bytes), std::nullopt);
    close_and_check();
  }
}

// An image on a device of a fixed number of clusters, which are allocated without being used.
class OnADevice : public testing::Test {
 protected:
  void open(uint64_t clusters, uint64_t cluster_size, int refcount_bits = 16) {
    end_ = HostCluster(clusters);
    storage::MemoryDevice file{storage::SparseBytes(clusters * cluster_size)};
    CreateOptions create_options;
    create_options.size = cluster_size;
    create_options.cluster_size = cluster_size;
    create_options.refcount_bits = refcount_bits;
    loop_.run(create(file, nullptr, create_options));
    faults::SimulatedDisk::Options fixed;
    fixed.grows = false;
    auto disk =
        std::make_unique<faults::SimulatedDisk>(faults::SimulatedCache(file.contents()), fixed);
    parts_ = loop_.run(ImageParts::open(std::move(disk), for_writing()));
    loop_.run(parts_->write_parts().refcounts.load());
  }
  Allocator& allocator() { return parts_->write_parts().allocator; }
  uint64_t free_clusters() {
    uint64_t count = 0;
    for (HostCluster at; at < end_; ++at) {
      const uint64_t refcount = loop_.run(parts_->write_parts().refcounts.get(at));
      count += refcount == 0 ? 1 : 0;
    }
    return count;
  }
  // Allocates one cluster after another until there is none.
  void take_all() {
    for (;;) {
      try {
        loop_.run(allocator().allocate(1));
      } catch (const Error& error) {
        EXPECT_EQ(error.errno_value(), ENOSPC);
        return;
      }
    }
  }

  Loop loop_;
  HostCluster end_;
  std::unique_ptr<ImageParts> parts_;
};

TEST_F(OnADevice, ARunAtItsEndIsGivenEvenIfItIsShorterThanWanted) {
  open(100, 65536);
  const uint64_t free_before = free_clusters();
  const ClusterRange range = loop_.run(allocator().allocate(1000)).range;
  EXPECT_EQ(range.end(), end_);
  EXPECT_EQ(range.count, free_before);
  EXPECT_EQ(free_clusters(), 0u);
}

TEST_F(OnADevice, AHoleThatWasTooSmallForALargerAllocationIsFound) {
  open(100, 65536);
  take_all();
  EXPECT_EQ(free_clusters(), 0u);
  loop_.run(allocator().free({HostCluster(20), 3}));
  loop_.run(allocator().free({HostCluster(60), 5}));
  EXPECT_THROW(loop_.run(allocator().allocate_all(6)), Error);
  EXPECT_EQ(loop_.run(allocator().allocate_all(5)).first, HostCluster(60));
  EXPECT_EQ(loop_.run(allocator().allocate_all(3)).first, HostCluster(20));
  EXPECT_EQ(free_clusters(), 0u);
}

TEST_F(OnADevice, AllHolesAreUsedByLargeRequestsOnceItIsFull) {
  for (uint64_t wanted = 1; wanted <= 40; wanted += 3) {
    SCOPED_TRACE(wanted);
    open(100, 65536);
    take_all();
    for (uint64_t at = 10; at < 90; at += 4) {
      loop_.run(allocator().free({HostCluster(at), 1 + at % 3}));
    }
    loop_.run(allocator().free({end_ - 3, 3}));
    allocator().fill_holes();
    while (free_clusters() > 0) {
      const ClusterRange range = loop_.run(allocator().allocate(wanted)).range;
      EXPECT_LE(range.end(), end_);
    }
    EXPECT_THROW(loop_.run(allocator().allocate(wanted)), Error);
  }
}

// The cluster after the packed bytes is past the end of the device, or the refcount block that it
// needs would be.
TEST_F(OnADevice, BytesContinueInAHoleIfTheyReachTheEnd) {
  for (const uint64_t clusters : {64, 65}) {
    SCOPED_TRACE(clusters);
    open(clusters, 512, 64);  // a refcount block for 64 clusters
    while (loop_.run(allocator().allocate(1)).range.end() < HostCluster(63)) {
    }
    ASSERT_EQ(loop_.run(allocator().allocate_bytes(400)).value(), 63 * 512u);
    loop_.run(allocator().free({HostCluster(10), 2}));
    const HostOffset place = loop_.run(allocator().allocate_bytes(400));
    EXPECT_EQ(place.value(), clusters == 64 ? 10 * 512 : 63 * 512 + 400u);
    EXPECT_EQ(free_clusters(), 1u);
  }
}

}  // namespace
}  // namespace byre::qcow2::test
