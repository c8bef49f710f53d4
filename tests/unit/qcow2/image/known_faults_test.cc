// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>
#include <utility>

#include "qcow2/image/image_parts.h"
#include "unit/qcow2/repair/repaired_image.h"
#include "unit/qcow2/request_script.h"
#include "unit/qcow2/writing_test.h"

// Faults that other implementations of qcow2 had and that no other test here covers; docs/proofs.md
// lists them all.
namespace byre::qcow2::test {
namespace {

class KnownFaults : public WritingTest {
 protected:
  // Makes the request and records it in the model; returns whether it succeeded.
  bool make(SectorModel* model, const Request& request) {
    model->may_write(request);
    try {
      loop_.run(apply(&image(), request));
    } catch (const Error&) {
      model->outcome_unknown(request);
      return false;
    }
    model->wrote(request);
    return true;
  }
  // Expects flushed data to be readable and the image sound, now and after a close.
  void expect_holds(SectorModel* model, const Layout& layout) {
    expect_sound(opened_.snapshot(), true);
    EXPECT_EQ(model->first_wrong(sync_wait(read_disks(opened_.snapshot(), layout.backing_size))),
              std::nullopt);
    try {
      loop_.run(image().close());
      model->flushed();
    } catch (const Error&) {
    }
    expect_sound(opened_.snapshot(), true);
    EXPECT_EQ(model->first_wrong(sync_wait(read_disks(opened_.snapshot(), layout.backing_size))),
              std::nullopt);
  }
};

Request write_of(uint64_t offset, uint64_t length, uint64_t seed) {
  return {.kind = Request::Kind::kWrite, .offset = offset, .length = length, .seed = seed};
}

// An L1 table moves when the disk grows, L2 tables when a snapshot shares them.
TEST_F(KnownFaults, WritesAfterATableCouldNotMoveAreHarmless) {
  const Layout layout = layout_of(256 * kKiB, 512);
  for (const int errno_value : {EIO, ENOSPC}) {
    for (const faults::Operation operation :
         {faults::Operation::kWrite, faults::Operation::kFlush, faults::Operation::kRead,
          faults::Operation::kReserveSpace}) {
      for (uint64_t nth = 1;; ++nth) {
        SCOPED_TRACE(testing::Message() << faults::operation_name(operation) << " " << nth);
        open(layout);
        SectorModel model(layout);
        ASSERT_TRUE(make(&model, write_of(0, 256 * kKiB, 1)));
        flush();
        model.flushed();
        opened_.file->add_rule({.operation = operation, .first = nth, .errno_value = errno_value});
        bool has_failed = false;
        try {
          loop_.run(image().resize(8 * kMiB, Preallocation::kOff));
        } catch (const Error&) {
          has_failed = true;
        }
        opened_.file->heal();
        for (uint64_t offset = 0; offset < 256 * kKiB; offset += 24 * kKiB) {
          make(&model, write_of(offset, 1536, 2 + offset));
        }
        // The disk may already have its new size; the model has the old one.
        const auto holds = [&] {
          expect_sound(opened_.snapshot(), true);
          std::vector<uint8_t> bytes = sync_wait(read_disks(opened_.snapshot(), {}));
          bytes.resize(256 * kKiB);
          EXPECT_EQ(model.first_wrong(bytes), std::nullopt);
        };
        holds();
        try {
          loop_.run(image().close());
          model.flushed();
        } catch (const Error&) {
        }
        holds();
        if (!has_failed || HasFailure()) break;
      }
    }
  }
}

TEST_F(KnownFaults, WritesAfterASharedTableCouldNotBeCopiedAreHarmless) {
  const Layout layout = layout_of(64 * kKiB, 1024);
  open(layout);
  const Request first = write_of(0, 64 * kKiB, 1);
  loop_.run(apply(&image(), first));
  close_and_check();
  const Disks shared = opened_.snapshot();
  share_everything(*shared.file, 1024);
  for (const int errno_value : {EIO, ENOSPC}) {
    for (const faults::Operation operation :
         {faults::Operation::kWrite, faults::Operation::kFlush, faults::Operation::kRead,
          faults::Operation::kReserveSpace}) {
      for (uint64_t nth = 1;; ++nth) {
        SCOPED_TRACE(testing::Message() << faults::operation_name(operation) << " " << nth);
        open(clone(shared), layout);
        SectorModel model(layout);
        model.may_write(first);
        model.flushed();
        opened_.file->add_rule({.operation = operation, .first = nth, .errno_value = errno_value});
        bool has_failed = !make(&model, write_of(512, 1024, 2));
        try {
          flush();
          model.flushed();
        } catch (const Error&) {
          has_failed = true;
        }
        opened_.file->heal();
        for (uint64_t offset = 0; offset < 63 * kKiB; offset += 3 * kKiB) {
          make(&model, write_of(offset, 1536, 3 + offset));
        }
        expect_holds(&model, layout);
        EXPECT_EQ(read_snapshot(), bytes_of(first));
        if (!has_failed || HasFailure()) break;
      }
    }
  }
}

// The file holds the data, its tables, and little else, whatever is rewritten, compressed or freed
// in between.
TEST_F(KnownFaults, AFileStaysSmallIfEveryWriteIsFlushed) {
  for (const uint64_t cluster_size : {uint64_t{512}, uint64_t{4096}, uint64_t{65536}}) {
    for (const bool has_snapshot : {false, true}) {
      SCOPED_TRACE(testing::Message() << cluster_size << (has_snapshot ? ", snapshot" : ""));
      const uint64_t size = cluster_size == 512 ? 32 * kKiB : 1 * kMiB;  // one L2 table
      const Layout layout = layout_of(size, cluster_size);
      uint64_t live = size;
      if (has_snapshot) {
        open(shared_disks(layout, pattern(0, size, 1)), layout);
        live += size;
      } else {
        open(layout);
      }
      std::mt19937_64 random(7);
      for (int i = 0; i < 600; ++i) {
        const uint64_t offset = align_down(random() % size, cluster_size);
        const uint64_t kind = random() % 8;
        if (kind < 5) write(offset, pattern(offset, std::min<uint64_t>(cluster_size, 4096), i));
        if (kind == 5) zero(offset, cluster_size, WriteFlags::kMayUnmap);
        if (kind == 6) discard(offset, cluster_size);
        if (kind == 7) {
          write(offset, compressible(offset, cluster_size, i), WriteFlags::kCompressed);
        }
        flush();
      }
      // One replaced cluster waits for the flush that frees it.
      EXPECT_LE(opened_.file_memory->size(), live + live / 16 + 12 * cluster_size);
      close_and_check();
    }
  }
}

class KnownFaultsOfZstd : public testing::TestWithParam<Damage> {};

TEST_P(KnownFaultsOfZstd, ARepairKeepsTheCompressionType) {
  if (!codec::is_supported(CompressionType::kZstd)) GTEST_SKIP() << "built without zstd";
  CreateOptions options = CheckedImage::small_options();
  options.compression_type = CompressionType::kZstd;
  CheckedImage image(options);
  GetParam().apply(image);
  const GuestView before = sync_wait(view_guest(image.file().clone()));
  repair(image.file(), GetParam());
  EXPECT_EQ(image.header().compression_type, CompressionType::kZstd);
  EXPECT_NE(image.header().incompatible_features & layout::incompatible::kCompressionType, 0u);
  expect_nothing_lost(before, sync_wait(view_guest(image.file().clone())));
}

INSTANTIATE_TEST_SUITE_P(Damages, KnownFaultsOfZstd, testing::ValuesIn(damages()),
                         [](const auto& info) { return info.param.name; });

TEST_F(KnownFaults, EveryChangeOfTheHeaderKeepsTheCompressionType) {
  if (!codec::is_supported(CompressionType::kZstd)) GTEST_SKIP() << "built without zstd";
  Layout layout = layout_of(64 * kKiB, 512);
  layout.create.compression_type = CompressionType::kZstd;
  layout.create.lazy_refcounts = true;  // sets the dirty bit, and clears it
  layout.create.refcount_bits = 64;
  open(layout);
  const std::vector<uint8_t> packed = compressible(0, 512, 1);
  write(0, packed, WriteFlags::kCompressed);
  const uint64_t table = image().header().refcount_table_offset.value();
  loop_.run(image().resize(16 * kMiB, Preallocation::kMetadata));
  write(kMiB, pattern(kMiB, 4 * kMiB, 2));
  loop_.run(image().resize(32 * kKiB, Preallocation::kOff));
  EXPECT_NE(image().header().refcount_table_offset.value(), table);
  close_and_check();
  open(opened_.snapshot(), layout);
  EXPECT_EQ(image().header().compression_type, CompressionType::kZstd);
  EXPECT_EQ(read(0, 512), packed);
  close_and_check();
}

// A small file with a header that claims a large image.
TEST_F(KnownFaults, RebuiltRefcountsCoverWhatIsInUseNotWhatTheHeaderClaims) {
  for (const uint64_t claimed : {uint64_t{1} << 40, uint64_t{1} << 45}) {
    SCOPED_TRACE(claimed);
    const Layout layout = layout_of(claimed, 65536);
    open(layout);
    write(claimed / 2, pattern(0, 4096, 1));
    close_and_check();
    Disks disks = opened_.snapshot();
    const uint64_t before = disks.file->size();
    disks.file->put(48, std::vector<uint8_t>(12));  // no refcount table
    repair(*disks.file);
    EXPECT_LE(disks.file->size(), before + 8 * 65536);
    expect_sound(disks, false);
    open(std::move(disks), layout);
    EXPECT_EQ(read(claimed / 2, 4096), pattern(0, 4096, 1));
    close_and_check();
  }
}

// An image whose refcounts have 64 bits, so that a block counts 64 clusters of 512 bytes.
constexpr uint64_t kCounted = 64 * 512;

Layout layout_of_many_blocks() {
  Layout layout = layout_of(1 * kMiB, 512);
  layout.create.refcount_bits = 64;
  return layout;
}

void put_word(Disks& disks, uint64_t offset, uint64_t value) {
  std::vector<uint8_t> bytes(8);
  store_big_endian<uint64_t>(bytes.data(), value);
  disks.file->put(offset, bytes);
}

uint64_t word(const Disks& disks, uint64_t offset) {
  return load_big_endian<uint64_t>(disks.file->get(offset, 8).data());
}

TEST_F(KnownFaults, AHoleInTheRefcountTableIsFilledAndNothingElseMoves) {
  const Layout layout = layout_of_many_blocks();
  open(layout);
  write(0, pattern(0, 512, 1));
  close_and_check();
  // Guest cluster 1 is at a distant offset, next to the only block that counts it.
  Disks disks = opened_.snapshot();
  const uint64_t far = 9 * kCounted;
  const std::vector<uint8_t> alone = pattern(512, 512, 2);
  put_word(disks, far, 1);
  put_word(disks, far + 8, 1);
  disks.file->put(far + 512, alone);
  put_word(disks, word(disks, 48) + 9 * 8, far);
  const uint64_t l2 = word(disks, word(disks, 40)) & layout::L1Entry::kOffsetMask;
  put_word(disks, l2 + 8, (far + 512) | layout::L2Entry::kCopied);
  expect_sound(disks, false);
  open(std::move(disks), layout);
  const std::vector<uint8_t> rest = pattern(1024, kMiB - 1024, 3);
  for (uint64_t at = 0; at < rest.size(); at += 32 * kKiB) {
    const uint64_t length = std::min<uint64_t>(32 * kKiB, rest.size() - at);
    write(1024 + at, {rest.begin() + static_cast<ptrdiff_t>(at),
                      rest.begin() + static_cast<ptrdiff_t>(at + length)});
    if (at % (96 * kKiB) == 0) flush();
  }
  std::vector<uint8_t> expected = pattern(0, 512, 1);
  expected.insert(expected.end(), alone.begin(), alone.end());
  expected.insert(expected.end(), rest.begin(), rest.end());
  EXPECT_EQ(first_difference(read(0, kMiB), expected), std::nullopt);
  close_and_check();
  EXPECT_EQ(first_difference(sync_wait(read_disks(opened_.snapshot(), {})), expected),
            std::nullopt);
}

// The image is not sound; its contents stay readable as long as it accepts writes.
TEST_F(KnownFaults, ARefcountBlockPastTheEndOfTheFileCostsNoData) {
  const Layout layout = layout_of_many_blocks();
  for (const uint64_t place : {2 * kCounted + 512, 3 * kCounted, 40 * kCounted}) {
    for (const uint64_t index : {1u, 2u, 3u}) {
      SCOPED_TRACE(testing::Message() << "block " << index << " at " << place);
      open(layout);
      write(0, pattern(0, 4096, 1));
      close_and_check();
      Disks disks = opened_.snapshot();
      put_word(disks, word(disks, 48) + index * 8, place);
      open(std::move(disks), layout);
      uint64_t written = 4096;
      try {
        for (uint64_t at = written; at < 400 * kKiB; at += 4096) {
          write(at, pattern(at, 4096, 1));
          flush();
          written = at + 4096;
        }
        loop_.run(image().close());
      } catch (const Error&) {
        try {
          loop_.run(image().close());
        } catch (const Error&) {
        }
      }
      std::vector<uint8_t> bytes = sync_wait(read_disks(opened_.snapshot(), {}));
      bytes.resize(written);
      std::vector<uint8_t> expected;
      for (uint64_t at = 0; at < written; at += 4096) {
        const std::vector<uint8_t> piece = pattern(at, 4096, 1);
        expected.insert(expected.end(), piece.begin(), piece.end());
      }
      EXPECT_EQ(first_difference(bytes, expected), std::nullopt);
    }
  }
}

// A base, an overlay with zeroes, and an empty overlay on top of both.
TEST_F(KnownFaults, ZeroesInTheMiddleOfAChainHideTheLayersBelow) {
  constexpr uint64_t kCluster = 16384;
  for (const bool extended : {false, true}) {
    SCOPED_TRACE(extended);
    Layout layout = layout_of(8 * kCluster, kCluster);
    layout.create.extended_l2 = extended;
    layout.create.backing_filename = "below";
    layout.create.backing_format = "raw";
    Layout middle = layout;
    middle.backing_size = 8 * kCluster;
    OpenImage between =
        loop_.run(open_disks(make_disks(middle), middle.backing_size, for_writing()));
    std::vector<uint8_t> expected = backing_bytes(8 * kCluster);
    const std::pair<uint64_t, uint64_t> ranges[] = {
        {kCluster, kCluster}, {3 * kCluster, 512}, {4 * kCluster + 1024, 2 * kCluster}};
    for (const auto& [offset, length] : ranges) {
      loop_.run(between.image->write_zeroes(offset, length, WriteFlags::kMayUnmap));
      std::fill_n(expected.begin() + static_cast<ptrdiff_t>(offset), length, uint8_t{0});
    }
    open(layout);
    image().set_backing(std::move(between.image));
    EXPECT_EQ(first_difference(read(0, 8 * kCluster), expected), std::nullopt);
    // The bytes that a write copies into its cluster come from there as well.
    for (uint64_t cluster = 0; cluster < 8; ++cluster) {
      const uint64_t offset = cluster * kCluster + 5000;
      const std::vector<uint8_t> bytes = pattern(offset, 700, 5);
      write(offset, bytes);
      std::ranges::copy(bytes, expected.begin() + static_cast<ptrdiff_t>(offset));
    }
    EXPECT_EQ(first_difference(read(0, 8 * kCluster), expected), std::nullopt);
    close_and_check();
  }
}

// A failed discard in the file costs space and nothing else; a discard whose tables cannot be
// changed fails.
TEST_F(KnownFaults, AFailedDiscardIsReportedUnlessOnlyItsSpaceStaysAllocated) {
  const Layout layout = layout_of(256 * kKiB, 4096);
  open(layout);
  write(0, pattern(0, 256 * kKiB, 1));
  close_and_check();
  open(opened_.snapshot(), layout);
  opened_.file->add_rule({.operation = faults::Operation::kRead, .count = UINT64_MAX});
  EXPECT_THROW(discard(0, 64 * kKiB), Error);
  opened_.file->heal();
  EXPECT_EQ(read(0, 256 * kKiB), pattern(0, 256 * kKiB, 1));
  opened_.file->add_rule({.operation = faults::Operation::kDiscard, .count = UINT64_MAX});
  discard(0, 64 * kKiB);
  flush();
  EXPECT_GT(file_count(faults::Operation::kDiscard), 0u);
  EXPECT_EQ(read(0, 64 * kKiB), std::vector<uint8_t>(64 * kKiB));
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
