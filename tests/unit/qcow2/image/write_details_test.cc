// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

class WriteDetails : public WritingTest {};

// An earlier writer may have been killed: what this one reads is durable after its flush.
TEST_F(WriteDetails, AFlushReachesTheFilesOfAnImageThatWasOnlyRead) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.data_filename = "data";
  open(layout);
  read(0, 512);
  loop_.run(image().flush());
  EXPECT_EQ(opened_.file->count(faults::Operation::kFlush), 1u);
  EXPECT_EQ(opened_.data->count(faults::Operation::kFlush), 1u);
  EXPECT_EQ(opened_.file->count(faults::Operation::kWrite), 0u);
}

// A writer that remembers where it packed last, but not that the cluster has been freed and
// reallocated since, writes compressed bytes into a cluster of other data.
TEST_F(WriteDetails, PackingDoesNotContinueInAClusterThatWasFreedAndReallocated) {
  open(layout_of(kMiB, 65536));
  const std::vector<uint8_t> small = compressible(0, 65536, 1);
  write(0, small, WriteFlags::kCompressed);
  loop_.run(image().write_zeroes(0, 65536, WriteFlags::kMayUnmap));
  loop_.run(image().flush());  // now the packed cluster is free
  const std::vector<uint8_t> plain = pattern(65536, 65536, 2);
  write(65536, plain);  // and reallocated
  const std::vector<uint8_t> again = compressible(131072, 65536, 3);
  write(131072, again, WriteFlags::kCompressed);
  EXPECT_EQ(read(65536, 65536), plain);
  EXPECT_EQ(read(131072, 65536), again);
  close_and_check();
}

TEST_F(WriteDetails, CompressedClustersArePackedWithoutGaps) {
  open(layout_of(kMiB, 65536));
  const std::vector<uint8_t> bytes = compressible(0, kMiB, 1);
  write(0, bytes, WriteFlags::kCompressed);
  EXPECT_EQ(read(0, kMiB), bytes);
  close_and_check();
  // Header, refcount table, refcount block, L1 table, L2 table, and one for all the data.
  EXPECT_LE(opened_.snapshot().file->size(), 6u * 65536);
}

TEST_F(WriteDetails, AClusterThatDoesNotBecomeSmallerIsStoredAsItIs) {
  open(layout_of(kMiB, 65536));
  std::mt19937_64 random(9);
  std::vector<uint8_t> noise(65536);
  for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random());
  write(0, noise, WriteFlags::kCompressed);
  const std::vector<Extent> all = extents();
  ASSERT_FALSE(all.empty());
  EXPECT_FALSE(all[0].compressed);
  EXPECT_EQ(read(0, 65536), noise);
  close_and_check();
}

TEST_F(WriteDetails, CompressedWritesOfPartsOfClustersAreRefused) {
  open(layout_of(kMiB, 65536));
  const std::vector<uint8_t> bytes = compressible(0, 4096, 1);
  EXPECT_THROW(write(0, bytes, WriteFlags::kCompressed), Error);
  EXPECT_THROW(write(512, compressible(0, 65536, 1), WriteFlags::kCompressed), Error);
  close_and_check();
}

TEST_F(WriteDetails, APartialLastClusterMayBeCompressed) {
  open(layout_of(65536 + 4096, 65536));
  const std::vector<uint8_t> bytes = compressible(65536, 4096, 5);
  write(65536, bytes, WriteFlags::kCompressed);
  EXPECT_EQ(read(65536, 4096), bytes);
  close_and_check();
}

TEST_F(WriteDetails, ARequestForManyClustersIsOneWriteOfData) {
  open(layout_of(16 * kMiB, 65536));
  write(0, pattern(0, 512, 1));  // creates the tables
  opened_.file->clear_events();
  write(kMiB, pattern(kMiB, 4 * kMiB, 1));
  uint64_t writes = 0;
  for (const faults::FaultEvent& event : opened_.file->events()) {
    if (event.operation == faults::Operation::kWrite) ++writes;
  }
  EXPECT_EQ(writes, 1u);
  close_and_check();
}

// A part of the file that was never written reads as zeroes; a cluster that was freed does not.
TEST_F(WriteDetails, ZeroesAreNotWrittenToANewClusterPastTheEndOfTheFile) {
  Layout layout = layout_of(kMiB, 65536);
  open(layout);
  const auto lengths_of = [&](uint64_t offset, uint64_t length, uint64_t seed) {
    opened_.file->clear_events();
    const std::vector<uint8_t> bytes = pattern(offset, length, seed);
    write(offset, bytes);
    std::vector<uint8_t> whole(65536);
    std::ranges::copy(bytes, whole.begin() + static_cast<ptrdiff_t>(offset % 65536));
    EXPECT_EQ(read(align_down(offset, 65536), 65536), whole);
    std::vector<uint64_t> lengths;
    for (const faults::FaultEvent& event : opened_.file->events()) {
      if (event.operation == faults::Operation::kWrite) lengths.push_back(event.length);
    }
    return lengths;
  };
  write(0, pattern(0, 512, 1));  // creates the tables
  EXPECT_EQ(lengths_of(65536 + 8192, 4096, 1), std::vector<uint64_t>{4096});
  EXPECT_EQ(lengths_of(3 * 65536, 512, 2), std::vector<uint64_t>{512});
  EXPECT_EQ(lengths_of(5 * 65536 - 512, 512, 3), std::vector<uint64_t>{512});
  write(6 * 65536, pattern(6 * 65536, 65536, 4));
  discard(6 * 65536, 65536);
  flush();
  EXPECT_EQ(lengths_of(7 * 65536 + 8192, 4096, 5), std::vector<uint64_t>{65536});
  // Again, with data that the last process left past the last cluster in use.
  close_and_check();
  open(opened_.snapshot(), layout);
  EXPECT_EQ(lengths_of(9 * 65536 + 8192, 4096, 6), std::vector<uint64_t>{4096});
  close_and_check();
}

TEST_F(WriteDetails, BytesOfTheBackingFileAreCopiedIntoANewCluster) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.backing_filename = "backing";
  layout.create.backing_format = "raw";
  layout.backing_size = kMiB;
  open(layout);
  std::vector<uint8_t> expected = backing_bytes(kMiB);
  const std::vector<uint8_t> bytes = pattern(8192, 4096, 1);
  write(8192, bytes);
  std::ranges::copy(bytes, expected.begin() + 8192);
  EXPECT_EQ(first_difference(read(0, kMiB), expected), std::nullopt);
  close_and_check();
}

TEST_F(WriteDetails, AFlushWithoutChangedMetadataIsOneFlush) {
  open(layout_of(kMiB, 65536));
  write(0, pattern(0, 65536, 1));
  loop_.run(image().flush());
  write(0, pattern(0, 65536, 2));
  opened_.file->clear_events();
  loop_.run(image().flush());
  ASSERT_EQ(opened_.file->events().size(), 1u);
  EXPECT_EQ(opened_.file->events()[0].operation, faults::Operation::kFlush);
  close_and_check();
}

TEST_F(WriteDetails, RefcountTablesGrow) {
  Layout layout = layout_of(6 * kMiB, 512);
  layout.create.refcount_bits = 64;
  open(layout);
  const std::vector<uint8_t> bytes = pattern(0, 6 * kMiB, 1);
  write(0, bytes);
  EXPECT_GT(image().header().refcount_table_clusters, 1u);
  EXPECT_EQ(read(0, 6 * kMiB), bytes);
  close_and_check();
}

TEST_F(WriteDetails, LazyRefcountsSetTheDirtyBitBeforeTheFirstWriteAndCloseClearsIt) {
  Layout layout = layout_of(kMiB, 4096);
  layout.create.lazy_refcounts = true;
  open(layout);
  loop_.run(image().flush());
  EXPECT_FALSE(image().header().is_dirty());
  write(0, pattern(0, 4096, 1));
  const Disks crashed = opened_.snapshot();
  EXPECT_EQ(crashed.file->get(79, 1)[0] & 1, 1);
  close_and_check();
  EXPECT_EQ(opened_.snapshot().file->get(79, 1)[0] & 1, 0);
}

TEST_F(WriteDetails, AutoclearBitsAreClearedBeforeTheFirstWriteButTheRawDataFileBitStays) {
  Layout layout = layout_of(kMiB, 4096);
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  Disks disks = make_disks(layout);
  disks.file->put(88, std::vector<uint8_t>{0x80});  // an unknown autoclear bit
  open(std::move(disks), layout);
  read(0, 512);
  EXPECT_EQ(opened_.snapshot().file->get(88, 1)[0], 0x80);
  write(0, pattern(0, 4096, 1));
  EXPECT_EQ(opened_.snapshot().file->get(88, 8), std::vector<uint8_t>({0, 0, 0, 0, 0, 0, 0, 2}));
  close_and_check();
}

// Clusters 0 to 4 are the header, refcount table, refcount block, L1 table and, once there is one,
// L2 table.
TEST_F(WriteDetails, AnImageThatWasNotClosedProperlyIsRepairedBeforeItIsWrittenTo) {
  const Layout layout = layout_of(kMiB, 4096);
  open(layout);
  write(0, pattern(0, 8192, 1));
  loop_.run(image().close());
  Disks disks = opened_.snapshot();
  disks.file->put(79, std::vector<uint8_t>{1});
  disks.file->put(2 * 4096, std::vector<uint8_t>(4096));  // all refcounts are 0
  open(std::move(disks), layout);
  EXPECT_FALSE(image().header().is_dirty());
  write(8192, pattern(8192, 8192, 2));
  EXPECT_EQ(read(0, 8192), pattern(0, 8192, 1));
  EXPECT_EQ(read(8192, 8192), pattern(8192, 8192, 2));
  close_and_check();
}

TEST_F(WriteDetails, AnImageThatWasNotClosedProperlyIsReadAsItIs) {
  const Layout layout = layout_of(kMiB, 4096);
  Disks disks = make_disks(layout);
  disks.file->put(79, std::vector<uint8_t>{1});
  const Disks before = clone(disks);
  sync_wait(read_disks(clone(disks), std::nullopt));
  EXPECT_EQ(disks.file->get(0, 4096), before.file->get(0, 4096));
}

TEST_F(WriteDetails, ADirtyImageThatCannotBeRepairedIsNotOpenedForWriting) {
  const Layout layout = layout_of(kMiB, 4096);
  Disks disks = make_disks(layout);
  disks.file->put(79, std::vector<uint8_t>{1});
  disks.file->put(2 * 4096, std::vector<uint8_t>(4096));
  auto file = std::make_unique<faults::FaultDevice>(std::move(disks.file));
  file->add_rule({.operation = faults::Operation::kWrite, .count = UINT64_MAX});
  try {
    loop_.run(Image::open(std::move(file), for_writing()));
    FAIL() << "it was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.data().code, "qcow2-dirty-image-not-repaired");
    EXPECT_EQ(error.errno_value(), EIO);
  }
}

// Refcounts and L2 entries of a damaged image may mark the header, or a table, as free or as data.
TEST_F(WriteDetails, NothingIsWrittenOverTheHeaderTheRefcountTableOrTheL1Table) {
  const Layout layout = layout_of(kMiB, 65536);
  for (const uint64_t cluster : {0, 1, 3}) {
    SCOPED_TRACE(cluster);
    Disks free = make_disks(layout);
    free.file->put(2 * 65536 + cluster * 2, std::vector<uint8_t>{0, 0});
    const std::vector<uint8_t> before = free.file->get(cluster * 65536, 8);
    open(std::move(free), layout);
    EXPECT_THROW(write(0, pattern(0, 65536, 1)), Error);
    EXPECT_EQ(opened_.snapshot().file->get(cluster * 65536, 8), before);
    EXPECT_THROW(write(65536, pattern(0, 65536, 1)), Error);  // as is every later write

    open(layout);
    write(0, pattern(0, 65536, 1));
    loop_.run(image().close());
    Disks data = opened_.snapshot();
    const uint64_t l2 = load_big_endian<uint64_t>(data.file->get(3 * 65536, 8).data()) &
                        layout::L1Entry::kOffsetMask;
    uint8_t entry[8];
    store_big_endian<uint64_t>(entry,
                               layout::L2Entry::kCopied | std::max<uint64_t>(cluster, 1) * 65536);
    data.file->put(l2, ConstBytes(entry));
    open(std::move(data), layout);
    EXPECT_THROW(write(0, pattern(0, 65536, 2)), Error);
  }
}

TEST_F(WriteDetails, GrownDisksReadAsZeroesPastTheOldEnd) {
  for (const uint64_t cluster_size : {uint64_t{512}, uint64_t{65536}}) {
    SCOPED_TRACE(cluster_size);
    Layout layout = layout_of(100 * 1024 + 512, cluster_size);
    layout.create.backing_filename = "backing";
    layout.create.backing_format = "raw";
    layout.backing_size = 512 * 1024;
    open(layout);
    std::vector<uint8_t> expected = backing_bytes(100 * 1024 + 512);
    const std::vector<uint8_t> written = pattern(100 * 1024, 512, 4);
    write(100 * 1024, written);
    std::copy(written.begin(), written.end(), expected.begin() + 100 * 1024);
    expected.resize(40 * kMiB);
    loop_.run(image().resize(40 * kMiB, Preallocation::kOff));
    EXPECT_EQ(image().size(), 40 * kMiB);
    EXPECT_EQ(first_difference(read(0, 40 * kMiB), expected), std::nullopt);
    const std::vector<uint8_t> more = pattern(39 * kMiB, 70000, 5);
    write(39 * kMiB, more);
    std::copy(more.begin(), more.end(), expected.begin() + 39 * kMiB);
    close_and_check();
    const auto later = sync_wait(read_disks(opened_.snapshot(), layout.backing_size));
    EXPECT_EQ(first_difference(later, expected), std::nullopt);
  }
}

TEST_F(WriteDetails, ZeroesWithoutFallbackAreRefusedIfOnlyZeroBytesWouldDo) {
  open(layout_of(kMiB, 65536));
  write(0, pattern(0, 65536, 1));
  try {
    loop_.run(image().write_zeroes(512, 512, WriteFlags::kNoFallback));
    FAIL() << "zero bytes were written";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
  loop_.run(image().write_zeroes(0, 65536, WriteFlags::kNoFallback));
  EXPECT_EQ(read(0, 65536), std::vector<uint8_t>(65536));
  close_and_check();
}

// Version 3 records zeroes on such a disk: zeroing_test.cc.
TEST_F(WriteDetails, DiscardsOfAHugeEmptyDiskAndZeroesInVersionTwoTouchNothing) {
  for (const int version : {2, 3}) {
    Layout layout = layout_of(uint64_t{1} << 50, 65536);
    layout.create.version = version;
    open(layout);
    if (version < 3) {
      loop_.run(image().write_zeroes(0, uint64_t{1} << 50, WriteFlags::kMayUnmap));
    }
    loop_.run(image().discard(0, uint64_t{1} << 50));
    EXPECT_EQ(opened_.file->count(faults::Operation::kWrite), 0u);
    EXPECT_EQ(opened_.file->count(faults::Operation::kWriteZeroes), 0u);
    close_and_check();
  }
}

TEST_F(WriteDetails, ClustersAndTablesOfASnapshotAreNeverWrittenInPlace) {
  const Layout layout = layout_of(kMiB, 65536);
  const std::vector<uint8_t> before = pattern(0, kMiB, 1);
  Disks disks = shared_disks(layout, before);
  expect_sound(disks, false);

  open(std::move(disks), layout);
  std::vector<uint8_t> now = before;
  const auto change = [&](uint64_t offset, uint64_t length) {
    const std::vector<uint8_t> bytes = pattern(offset, length, 2);
    write(offset, bytes);
    std::copy(bytes.begin(), bytes.end(), now.begin() + static_cast<ptrdiff_t>(offset));
  };
  change(1000, 70000);
  loop_.run(image().write_zeroes(5 * 65536, 65536, WriteFlags::kMayUnmap));
  std::fill_n(now.begin() + 5 * 65536, 65536, uint8_t{0});
  change(5 * 65536 + 10, 100);
  const std::vector<uint8_t> packed = compressible(7 * 65536, 65536, 3);
  write(7 * 65536, packed, WriteFlags::kCompressed);
  std::copy(packed.begin(), packed.end(), now.begin() + 7 * 65536);
  EXPECT_EQ(read(0, kMiB), now);
  loop_.run(image().flush());
  change(65536 * 2, 512);
  close_and_check();

  EXPECT_EQ(read_snapshot(), before);
}

}  // namespace
}  // namespace byre::qcow2::test
