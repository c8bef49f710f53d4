// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <optional>
#include <utility>

#include "testing/simulated_disk.h"
#include "unit/qcow2/writing_test.h"

// On a full disk acknowledged data is kept, and free clusters are found.
namespace byre::qcow2::test {
namespace {

using faults::SimulatedCache;
using faults::SimulatedDisk;
using storage::SparseBytes;

constexpr uint64_t kCluster = 65536;

class FullDisk : public testing::Test {
 protected:
  // Creates the image on its own disk; with `size`, one of that fixed size.
  void make(const Layout& layout, std::optional<uint64_t> size = std::nullopt) {
    storage::MemoryDevice file{size ? SparseBytes(*size) : SparseBytes()};
    loop_.run(create(file, nullptr, layout.create));
    grows_ = !size;
    contents_ = file.contents();
  }
  void open(OpenOptions open_options = for_writing()) {
    SimulatedDisk::Options options;
    options.grows = grows_;
    auto disk = std::make_unique<SimulatedDisk>(SimulatedCache(contents_), options);
    disk_ = disk.get();
    image_ = loop_.run(Image::open(std::move(disk), open_options));
  }
  // Leaves this many bytes more than the image takes now.
  void leave_room(uint64_t bytes) { disk_->set_room(*disk_->allocated_size() + bytes); }
  // 0, or the errno value.
  int write(uint64_t offset, uint64_t length, WriteFlags flags = WriteFlags::kNone) {
    const std::vector<uint8_t> bytes = pattern(offset, length, 1);
    return outcome([&] { loop_.run(image_->write(offset, ConstBytes(bytes), flags)); });
  }
  template <class Call>
  static int outcome(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error.errno_value();
    }
    return 0;
  }
  void close() {
    loop_.run(image_->close());
    contents_ = disk_->cache().now();
    image_.reset();
  }
  void expect_kept(uint64_t offset, uint64_t length) {
    auto file = std::make_unique<storage::MemoryDevice>(contents_);
    const std::unique_ptr<Image> image = loop_.run(Image::open(std::move(file), {}));
    std::vector<uint8_t> bytes(length);
    loop_.run(image->read(offset, Bytes(bytes)));
    EXPECT_EQ(bytes, pattern(offset, length, 1)) << offset;
    loop_.run(image->close());
  }
  void expect_sound_image() {
    Disks disks;
    disks.file = std::make_unique<storage::MemoryDevice>(contents_);
    expect_sound(disks, true);
  }

  Loop loop_;
  SparseBytes contents_;
  bool grows_ = true;
  SimulatedDisk* disk_ = nullptr;
  std::unique_ptr<Image> image_;
};

TEST_F(FullDisk, AcknowledgedDataIsThereAfterAClose) {
  for (const bool compressed : {false, true}) {
    for (uint64_t room = 0; room < 12 * kCluster; room += kCluster / 2) {
      make(layout_of(64 * kMiB, kCluster));
      open();
      leave_room(room);
      std::vector<uint64_t> acknowledged;
      for (uint64_t i = 0; i < 16; ++i) {
        const uint64_t offset = i * 3 * kMiB;
        const WriteFlags flags = compressed ? WriteFlags::kCompressed : WriteFlags::kNone;
        if (write(offset, kCluster, flags) == 0) acknowledged.push_back(offset);
      }
      close();
      expect_sound_image();
      for (const uint64_t offset : acknowledged) expect_kept(offset, kCluster);
      EXPECT_LT(acknowledged.size(), 16u);
    }
  }
}

// As `cp --sparse` leaves them: tables with holes instead of zeroes.
TEST_F(FullDisk, ATableInAHoleHasItsSpaceBeforeARequestIsAcknowledged) {
  make(layout_of(64 * kMiB, kCluster));
  open();
  ASSERT_EQ(write(0, kCluster), 0);
  close();
  SparseBytes sparse(contents_.size());
  for (uint64_t at = 0; at < contents_.size(); at += SparseBytes::kChunkSize) {
    std::vector<uint8_t> chunk(std::min<uint64_t>(SparseBytes::kChunkSize, contents_.size() - at));
    contents_.read(at, chunk);
    if (!ReadBuffers(Bytes(chunk)).is_all_zero()) sparse.write(at, chunk);
  }
  ASSERT_LT(sparse.allocated(), contents_.allocated());
  contents_ = sparse;
  open();
  // Room for a cluster of data, but not for the part of the L2 table that maps it.
  leave_room(kCluster);
  EXPECT_EQ(write(32 * kMiB, kCluster), ENOSPC);
  loop_.run(image_->flush());
  leave_room(2 * kCluster);
  EXPECT_EQ(write(32 * kMiB, kCluster), 0);
  leave_room(0);
  close();
  expect_sound_image();
  expect_kept(0, kCluster);
  expect_kept(32 * kMiB, kCluster);
}

TEST_F(FullDisk, ADiscardMakesRoomOnADiskOfFixedSizeWithoutAFlush) {
  make(layout_of(4 * kMiB, kCluster), 3 * kMiB);
  open();
  uint64_t written = 0;
  while (write(written, kCluster) == 0) written += kCluster;
  ASSERT_GT(written, 2 * kMiB);
  loop_.run(image_->discard(0, kMiB));
  EXPECT_EQ(write(written, kMiB / 2), 0);
  close();
  expect_sound_image();
  expect_kept(kMiB, written - kMiB);
  expect_kept(written, kMiB / 2);
}

// One L2 table, so that only data takes clusters.
TEST_F(FullDisk, EveryClusterOfADeviceTakesDataWhateverTheLengthsOfTheWrites) {
  constexpr uint64_t kClusters = 100;
  constexpr uint64_t kMetadata = 5;  // header, refcount table and block, L1 and L2 table
  for (uint64_t length = 1; length <= 41; length += 5) {
    SCOPED_TRACE(length);
    make(layout_of(64 * kMiB, kCluster), kClusters * kCluster);
    open();
    uint64_t written = 0;
    const auto fill = [&](uint64_t free) {
      while (free > 0) {
        const uint64_t count = std::min(length, free);
        ASSERT_EQ(write(written * kCluster, count * kCluster), 0) << written;
        written += count;
        free -= count;
      }
      EXPECT_EQ(write(written * kCluster, kCluster), ENOSPC);
    };
    fill(kClusters - kMetadata);
    uint64_t freed = 2;
    loop_.run(image_->discard((written - freed) * kCluster, freed * kCluster));
    for (uint64_t at = 1; at + 3 < kClusters - kMetadata; at += 5) {
      const uint64_t count = 1 + at % 3;
      loop_.run(image_->discard(at * kCluster, count * kCluster));
      freed += count;
    }
    fill(freed);
    close();
    expect_sound_image();
    expect_kept(0, kCluster);
    expect_kept((kClusters - kMetadata) * kCluster, freed * kCluster);
  }
}

// The clusters stay allocated, and their bytes are discarded at the next flush.
TEST_F(FullDisk, ADiscardThatKeepsItsClustersMakesRoomWithoutAFlush) {
  make(layout_of(64 * kMiB, kCluster));
  OpenOptions options = for_writing();
  options.discard_no_unref = true;
  open(options);
  ASSERT_EQ(write(0, 2 * kMiB), 0);
  leave_room(0);
  EXPECT_EQ(write(16 * kMiB, kMiB / 2), ENOSPC);
  loop_.run(image_->discard(0, kMiB));
  EXPECT_EQ(write(16 * kMiB, kMiB / 2), 0);
  close();
  expect_sound_image();
  expect_kept(kMiB, kMiB);
  expect_kept(16 * kMiB, kMiB / 2);
}

TEST_F(FullDisk, FreeClustersAreUsedIfTheFileCannotGrow) {
  make(layout_of(64 * kMiB, kCluster));
  open();
  ASSERT_EQ(write(0, 8 * kMiB), 0);
  leave_room(0);
  EXPECT_EQ(write(16 * kMiB, 2 * kMiB), ENOSPC);
  // Every other cluster, so that no hole is large; the space is returned to the file system.
  for (uint64_t at = 0; at < 8 * kMiB; at += 2 * kCluster) {
    loop_.run(image_->discard(at, kCluster));
  }
  EXPECT_EQ(write(16 * kMiB, 2 * kMiB), 0);
  close();
  expect_sound_image();
  expect_kept(kCluster, kCluster);
  expect_kept(16 * kMiB, 2 * kMiB);
}

TEST_F(FullDisk, ARequestThatFindsNoSpaceFailsAndTheImageStaysUsable) {
  make(layout_of(64 * kMiB, kCluster));
  open();
  ASSERT_EQ(write(0, kMiB), 0);
  leave_room(0);
  EXPECT_EQ(write(2 * kMiB, kMiB), ENOSPC);
  EXPECT_EQ(outcome([&] { loop_.run(image_->write_zeroes(0, 512, WriteFlags::kNone)); }), 0);
  EXPECT_EQ(outcome([&] { loop_.run(image_->flush()); }), 0);
  leave_room(4 * kMiB);
  EXPECT_EQ(write(2 * kMiB, kMiB), 0);
  EXPECT_EQ(write(0, kMiB), 0);
  leave_room(0);
  close();
  expect_sound_image();
  expect_kept(0, kMiB);
  expect_kept(2 * kMiB, kMiB);
}

TEST_F(FullDisk, ATableComesBeforeTheDataThatItMaps) {
  make(layout_of(64 * kMiB, 512));
  open();
  // Each table of 512 bytes maps 32 KiB.
  ASSERT_EQ(write(0, 96 * kKiB), 0);
  const auto place_of = [&](uint64_t offset) {
    return *loop_.run(image_->extents(offset, 512, ExtentScope::kLayer))[0].host_offset;
  };
  for (const uint64_t start : {0 * kKiB, 32 * kKiB, 64 * kKiB}) {
    // Refcount blocks may be in between, but the table itself is directly before its data.
    if (start > 0) EXPECT_GT(place_of(start), place_of(start - 512) + 512);
  }
  close();
  expect_sound_image();
}

}  // namespace
}  // namespace byre::qcow2::test
