// SPDX-License-Identifier: Apache-2.0
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

class Resize : public WritingTest {
 protected:
  void resize(uint64_t size, Preallocation preallocation = Preallocation::kOff) {
    loop_.run(image().resize(size, preallocation));
  }
  std::vector<uint8_t> reopened(const Layout& layout) {
    return sync_wait(read_disks(opened_.snapshot(), layout.backing_size));
  }
};

TEST_F(Resize, ImpossibleSizesAreRefused) {
  open(layout_of(kMiB, 65536));
  EXPECT_EQ(refusal([&] { resize(1000); }).data().code, "qcow2-new-size-unaligned");
  EXPECT_EQ(refusal([&] { resize(uint64_t{1} << 63); }).data().code, "qcow2-new-size-impossible");
  EXPECT_EQ(refusal([&] { resize(512, Preallocation::kFull); }).data().code,
            "qcow2-shrink-with-preallocation");
  EXPECT_EQ(refusal([&] { resize(uint64_t{1} << 62); }).data().code,
            "qcow2-new-size-beyond-l1-table");
  EXPECT_EQ(image().size(), kMiB);
  close_and_check();
}

TEST_F(Resize, AVersionTwoImageWithSnapshotsKeepsItsSize) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.version = 2;
  open(shared_disks(layout, pattern(0, kMiB, 1)), layout);
  for (const uint64_t size : {kMiB / 2, 2 * kMiB}) {
    EXPECT_EQ(refusal([&] { resize(size); }).data().code, "qcow2-resize-with-snapshots");
  }
  close_and_check();
}

TEST_F(Resize, AShrunkenDiskFreesItsClustersAndTruncatesTheFile) {
  for (const uint64_t cluster_size : {uint64_t{512}, uint64_t{4096}, uint64_t{65536}}) {
    SCOPED_TRACE(cluster_size);
    const Layout layout = layout_of(8 * kMiB, cluster_size);
    open(layout);
    std::vector<uint8_t> expected = pattern(0, 8 * kMiB, 1);
    write(0, pattern(0, 512, 1));  // with large clusters, the only L2 table is before all data
    write(0, expected);
    write(6 * kMiB, compressible(6 * kMiB, 65536, 2), WriteFlags::kCompressed);
    flush();
    const uint64_t size = 3 * kMiB + 512;
    resize(size);
    EXPECT_EQ(image().size(), size);
    expected.resize(size);
    EXPECT_EQ(first_difference(read(0, size), expected), std::nullopt);
    if (cluster_size == 65536) EXPECT_LT(opened_.snapshot().file->size(), 4 * kMiB);
    EXPECT_THROW(read(size, 512), Error);
    // What was past the end does not reappear.
    resize(8 * kMiB);
    expected.resize(8 * kMiB);
    EXPECT_EQ(first_difference(read(0, 8 * kMiB), expected), std::nullopt);
    const std::vector<uint8_t> more = pattern(7 * kMiB, 70000, 5);
    write(7 * kMiB, more);
    std::copy(more.begin(), more.end(), expected.begin() + 7 * kMiB);
    close_and_check();
    EXPECT_EQ(first_difference(reopened(layout), expected), std::nullopt);
  }
}

TEST_F(Resize, TheRestOfTheLastClusterIsZeroedForALaterGrowth) {
  open(layout_of(kMiB, 65536));
  write(0, pattern(0, kMiB, 1));
  resize(4096);
  const std::vector<Extent> all = extents();
  ASSERT_TRUE(all[0].host_offset.has_value());
  close_and_check();
  EXPECT_EQ(opened_.snapshot().file->get(*all[0].host_offset + 4096, 61440),
            std::vector<uint8_t>(61440));
}

TEST_F(Resize, ASnapshotKeepsWhatAShrunkenDiskFreed) {
  const Layout layout = layout_of(kMiB, 65536);
  const std::vector<uint8_t> before = pattern(0, kMiB, 1);
  const Disks disks = shared_disks(layout, before);
  for (const uint64_t size : {uint64_t{0}, uint64_t{300 * 1024}}) {
    SCOPED_TRACE(size);
    open(clone(disks), layout);
    resize(size);
    resize(kMiB);  // a snapshot is read with the disk's size
    close_and_check();
    EXPECT_EQ(read_snapshot(), before);
  }
}

TEST_F(Resize, ARawDataFileIsAsLongAsTheDisk) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  open(layout);
  const std::vector<uint8_t> bytes = pattern(0, kMiB, 1);
  write(0, bytes);
  resize(100 * 1024);
  EXPECT_EQ(opened_.data_memory->size(), 100u * 1024);
  resize(300 * 1024);
  EXPECT_EQ(opened_.data_memory->size(), 300u * 1024);
  std::vector<uint8_t> expected(bytes.begin(), bytes.begin() + 100 * 1024);
  expected.resize(300 * 1024);
  EXPECT_EQ(read(0, 300 * 1024), expected);
  EXPECT_EQ(opened_.data_memory->get(0, 300 * 1024), expected);
  close_and_check();
}

// Wherever it came from, and even if entries map it.
TEST_F(Resize, BytesOfARawDataFilePastTheDiskAreNotShown) {
  Layout layout = layout_of(200 * kKiB, 512);  // an L2 table maps 32 KiB
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  const std::vector<uint8_t> bytes = pattern(0, 200 * kKiB, 1);
  for (const uint64_t size : {uint64_t{0}, uint64_t{512}, 40 * kKiB}) {
    SCOPED_TRACE(size);
    open(layout);
    write(0, bytes);
    close_and_check();
    Disks disks = opened_.snapshot();
    std::vector<uint8_t> size_field(8);
    store_big_endian<uint64_t>(size_field.data(), size);
    sync_wait(disks.file->write(24, ConstBytes(size_field)));
    open(std::move(disks), layout);
    resize(150 * kKiB);
    std::vector<uint8_t> expected(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    expected.resize(150 * kKiB);
    EXPECT_EQ(first_difference(read(0, 150 * kKiB), expected), std::nullopt);
    const std::vector<uint8_t> raw = opened_.data_memory->get(0, 150 * kKiB);
    EXPECT_EQ(first_difference(raw, expected), std::nullopt);
    close_and_check();
  }
}

TEST_F(Resize, NewBytesHaveClustersIfPreallocationSaysSo) {
  for (const Preallocation mode :
       {Preallocation::kMetadata, Preallocation::kFalloc, Preallocation::kFull}) {
    for (const bool extended : {false, true}) {
      SCOPED_TRACE(static_cast<int>(mode));
      Layout layout = layout_of(100 * 1024, extended ? 16384 : 4096);
      layout.create.extended_l2 = extended;
      layout.create.backing_filename = "backing";
      layout.create.backing_format = "raw";
      layout.backing_size = kMiB;
      open(layout);
      std::vector<uint8_t> expected = backing_bytes(100 * 1024);
      // Bytes that a crash left past the last cluster in use.
      opened_.file_memory->put(opened_.file_memory->size(), pattern(0, 300000, 3));
      resize(5 * kMiB, mode);
      expected.resize(5 * kMiB);
      EXPECT_EQ(first_difference(read(0, 5 * kMiB), expected), std::nullopt);
      const uint64_t first_new = align_up(100 * 1024, layout.create.cluster_size);
      for (const Extent& extent :
           loop_.run(image().extents(first_new, 5 * kMiB - first_new, ExtentScope::kLayer))) {
        EXPECT_TRUE(extent.data);
        EXPECT_TRUE(extent.host_offset.has_value());
      }
      const uint64_t flushes = file_count(faults::Operation::kFlush);
      write(2 * kMiB, pattern(2 * kMiB, 8192, 9));
      flush();
      EXPECT_EQ(file_count(faults::Operation::kFlush), flushes + 1);  // in place
      close_and_check();
    }
  }
}

TEST_F(Resize, ADataFileLosesTheBytesPastAShrunkenDisk) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.data_filename = "data";
  open(layout);
  write(0, pattern(0, kMiB, 1));
  resize(100 * 1024);
  EXPECT_EQ(opened_.data->count(faults::Operation::kDiscard), 1u);
  EXPECT_EQ(opened_.data_memory->get(128 * 1024, kMiB - 128 * 1024),
            std::vector<uint8_t>(kMiB - 128 * 1024));
  EXPECT_EQ(read(0, 100 * 1024), pattern(0, 100 * 1024, 1));
  close_and_check();
}

TEST_F(Resize, AGrowingDiskGetsNoEntriesForBytesThatAreZeroAnyway) {
  open(layout_of(2 * 65536, 65536));
  write(0, pattern(0, 4096, 1));
  resize(kMiB);
  const std::vector<Extent> all = extents();
  EXPECT_FALSE(all.back().present);
  EXPECT_EQ(all.back().length, kMiB - 65536);
  close_and_check();
}

TEST_F(Resize, AGrowingDiskWithADataFileHasItsTables) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.data_filename = "data";
  open(layout);
  resize(4 * kMiB, Preallocation::kMetadata);
  EXPECT_EQ(opened_.data_memory->size(), 4 * kMiB);
  for (const Extent& extent : loop_.run(image().extents(kMiB, 3 * kMiB, ExtentScope::kLayer))) {
    EXPECT_TRUE(extent.data);
    EXPECT_EQ(extent.host_offset, extent.offset);
  }
  close_and_check();
}

// Whichever write, flush or read fails, the image is sound and holds the bytes that are to stay.
TEST_F(Resize, AnyOneFailureLeavesASoundImage) {
  for (const uint64_t size : {uint64_t{100 * 512}, uint64_t{3 * kMiB}}) {
    for (const faults::Operation operation :
         {faults::Operation::kWrite, faults::Operation::kFlush, faults::Operation::kRead,
          faults::Operation::kResize}) {
      for (uint64_t nth = 1;; ++nth) {
        SCOPED_TRACE(testing::Message()
                     << size << " " << faults::operation_name(operation) << " " << nth);
        const Layout layout = layout_of(kMiB, 512);
        OpenOptions options = for_writing();
        options.cache.l2_cache_size = 4096;
        open(layout, options);
        const std::vector<uint8_t> bytes = pattern(0, kMiB, 1);
        write(0, bytes);
        flush();
        opened_.file->add_rule({.operation = operation, .first = nth});
        bool failed = false;
        try {
          resize(size, size > kMiB ? Preallocation::kMetadata : Preallocation::kOff);
        } catch (const Error&) {
          failed = true;
        }
        expect_sound(opened_.snapshot(), true);
        const std::vector<uint8_t> now = reopened(layout);
        const size_t kept = std::min<size_t>(size, kMiB);
        ASSERT_GE(now.size(), kept);
        EXPECT_TRUE(
            std::equal(now.begin(), now.begin() + static_cast<ptrdiff_t>(kept), bytes.begin()));
        opened_.file->heal();
        try {
          loop_.run(image().close());
        } catch (const Error&) {
          EXPECT_TRUE(failed);
        }
        if (!failed) break;
      }
    }
  }
}

}  // namespace
}  // namespace byre::qcow2::test
