// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "async/loop.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/tables/table_cache.h"
#include "storage/memory_device.h"

namespace byre::qcow2 {
namespace {

// L2 tables of a disk that was written sequentially.
class PackedTableCacheTest : public testing::Test {
 protected:
  static constexpr uint32_t kBig = 16384;
  static constexpr uint64_t kSlices = 64;

  PackedTableCacheTest() {
    auto file = std::make_unique<storage::MemoryDevice>(contents());
    file_ = file.get();
    storage_ = std::make_unique<Storage>(std::move(file));
  }

  static uint64_t word(uint64_t index) { return layout::L2Entry::kCopied | (index + 100) << 16; }
  ConstBytes contents() {
    bytes_.resize(kSlices * kBig);
    for (uint64_t i = 0; i < bytes_.size() / 8; ++i) store_big_endian(&bytes_[i * 8], word(i));
    return bytes_;
  }
  TableCache make(uint64_t slices_max) {
    return {storage_.get(),
            {.slice_size = kBig, .slices_max = slices_max, .l2_geometry = &geometry_}};
  }

  const layout::Geometry geometry_{layout::Header{}};
  std::vector<uint8_t> bytes_;
  storage::MemoryDevice* file_;
  std::unique_ptr<Storage> storage_;
};

TEST_F(PackedTableCacheTest, SequentiallyWrittenSlicesAreAllInMemory) {
  TableCache cache = make(2);
  for (uint64_t i = 0; i < kSlices; ++i) sync_wait(cache.get(i * kBig));
  EXPECT_EQ(cache.slices(), kSlices);
  EXPECT_LE(cache.memory(), 2 * kBig);
  const TableCache::Slice slice = cache.find(5 * kBig);
  EXPECT_EQ(slice.l2_entry(77).word(), word(5 * 2048 + 77));
  EXPECT_EQ(slice.l2_stretch(77, 5000).count, 2048u - 77);
  EXPECT_TRUE(std::ranges::equal(slice.bytes(), file_->get(5 * kBig, kBig)));
}

TEST_F(PackedTableCacheTest, AChangeUnpacksAndTheLimitStillHolds) {
  TableCache cache = make(4);
  for (uint64_t i = 0; i < kSlices; ++i) sync_wait(cache.get(i * kBig));
  for (uint64_t i = 0; i < kSlices; ++i) {
    const TableCache::Slice slice = sync_wait(cache.get(i * kBig));
    layout::L2Entry(7).store(slice.bytes(), 3, geometry_);
    slice.mark_dirty();
    EXPECT_EQ(slice.l2_entry(3).word(), 7u);
    EXPECT_EQ(slice.l2_stretch(4, 5000).count, 2048u - 4);
    EXPECT_LE(cache.memory(), 6 * kBig);
  }
  sync_wait(cache.write_back());
  for (uint64_t i = 0; i < kSlices; ++i) {
    EXPECT_EQ(load_big_endian<uint64_t>(file_->get(i * kBig + 24, 8).data()), 7u);
    EXPECT_EQ(sync_wait(cache.get(i * kBig)).l2_entry(3).word(), 7u);
  }
}

TEST_F(PackedTableCacheTest, FragmentedSlicesStayUnpacked) {
  TableCache cache = make(8);
  for (uint64_t i = 0; i < kBig / 8; i += 3) store_big_endian(&bytes_[i * 8], i << 16);
  sync_wait(file_->write(0, ConstBytes(bytes_)));
  EXPECT_EQ(sync_wait(cache.get(0)).l2_entry(3).word(), 3u << 16);
  EXPECT_EQ(cache.memory(), kBig);
}

}  // namespace
}  // namespace byre::qcow2
