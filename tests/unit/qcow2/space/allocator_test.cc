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

}  // namespace
}  // namespace byre::qcow2::test
