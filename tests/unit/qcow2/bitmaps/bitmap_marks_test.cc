// SPDX-License-Identifier: Apache-2.0
#include "qcow2/bitmaps/bitmap_marks.h"

#include <gmock/gmock.h>

#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "async/when_all.h"
#include "qcow2/bitmaps/bitmap_list.h"
#include "unit/qcow2/image_with_bitmaps.h"

namespace byre::qcow2::test {
namespace {

class BitmapMarks : public WritingTest {
 protected:
  // The bitmaps as now stored in the file.
  std::vector<layout::BitmapEntry> stored() {
    OpenImage again = loop_.run(open_disks(opened_.snapshot(), {}, {}));
    const std::vector<layout::BitmapEntry> bitmaps = again.image->bitmaps();
    loop_.run(again.image->close());
    return bitmaps;
  }
};

TEST_F(BitmapMarks, BitmapsThatFollowWritesAreMarkedBeforeTheFirstWriteAndOthersAreNot) {
  const Layout layout = layout_of(kMiB, 65536);
  open(disks_with_bitmaps(layout, {{"follows", layout::bitmap_flag::kAuto}, {"stays", 0}}), layout);
  read(0, 512);
  flush();
  ASSERT_EQ(stored().size(), 2u);
  EXPECT_FALSE(stored()[0].in_use());
  opened_.file->clear_events();
  write(0, pattern(0, 65536, 1));
  // The mark is written, and is durable before anything else is written.
  ASSERT_GE(opened_.file->events().size(), 3u);
  uint64_t writes_before_flush = 0;
  for (const faults::FaultEvent& event : opened_.file->events()) {
    if (event.operation == faults::Operation::kFlush) break;
    if (event.operation != faults::Operation::kWrite) continue;
    ++writes_before_flush;
    EXPECT_EQ(event.length, 4u);
  }
  EXPECT_EQ(writes_before_flush, 1u);
  const std::vector<layout::BitmapEntry> bitmaps = stored();
  ASSERT_EQ(bitmaps.size(), 2u);
  EXPECT_TRUE(bitmaps[0].in_use());
  EXPECT_TRUE(bitmaps[0].is_auto());
  EXPECT_FALSE(bitmaps[1].in_use());
  EXPECT_TRUE(image().bitmaps()[0].in_use());
  close_and_check();
  EXPECT_EQ(stored(), bitmaps);  // the extension and its autoclear bit are still there
}

// The repair of a dirty image removes the bitmaps that cannot be read.
TEST_F(BitmapMarks, ABrokenBitmapOfADirtyImageDoesNotInvalidateTheGoodOnes) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.lazy_refcounts = true;
  Disks disks = disks_with_bitmaps(layout, {{"good", 0}, {"broken", 0}});
  OpenImage before = loop_.run(open_disks(clone(disks), {}, {}));
  const layout::HostOffset table = before.image->bitmaps()[1].table_offset;
  loop_.run(before.image->close());
  disks.file->put(table.value(), std::vector<uint8_t>{0x80});
  disks.file->put(79, std::vector<uint8_t>{layout::incompatible::kDirty});
  std::vector<WarningKind> warnings;
  OpenOptions options = for_writing();
  options.on_warning = [&](const Warning& warning) { warnings.push_back(warning.kind); };
  open(std::move(disks), layout, options);
  EXPECT_FALSE(parts().has_unreadable_bitmaps);
  EXPECT_THAT(warnings, testing::Each(WarningKind::kRepaired));
  write(0, pattern(0, 65536, 1));
  close_and_check();
  ASSERT_EQ(stored().size(), 1u);
  EXPECT_EQ(stored()[0].name, "good");
}

// The writer that set the mark may have been killed before it was durable.
TEST_F(BitmapMarks, AnExistingMarkIsMadeDurableBeforeTheFirstWrite) {
  using layout::bitmap_flag::kAuto;
  using layout::bitmap_flag::kInUse;
  const Layout layout = layout_of(kMiB, 65536);
  open(disks_with_bitmaps(layout, {{"follows", kAuto | kInUse}}), layout);
  opened_.file->clear_events();
  write(0, pattern(0, 65536, 1));
  uint64_t writes_before_flush = 0;
  for (const faults::FaultEvent& event : opened_.file->events()) {
    if (event.operation == faults::Operation::kFlush) break;
    if (event.operation == faults::Operation::kWrite) ++writes_before_flush;
  }
  EXPECT_EQ(writes_before_flush, 0u);
  close_and_check();
}

TEST_F(BitmapMarks, NothingIsWrittenIfNoBitmapFollowsWrites) {
  const Layout layout = layout_of(kMiB, 65536);
  open(disks_with_bitmaps(layout, {{"stays", 0}}), layout);
  const std::vector<uint8_t> header = opened_.file_memory->get(0, 512);
  write(0, pattern(0, 65536, 1));
  EXPECT_EQ(opened_.file_memory->get(0, 512), header);
  EXPECT_FALSE(stored()[0].in_use());
  close_and_check();
}

TEST_F(BitmapMarks, AnImageWhoseBitmapsCannotBeMarkedIsNotWritten) {
  const Layout layout = layout_of(kMiB, 65536);
  open(disks_with_bitmaps(layout, {{"follows", layout::bitmap_flag::kAuto}}), layout);
  opened_.file->add_rule({.operation = faults::Operation::kWrite});
  EXPECT_THROW(write(0, pattern(0, 65536, 1)), Error);
  EXPECT_EQ(read(0, 65536), std::vector<uint8_t>(65536));
  EXPECT_FALSE(stored()[0].in_use());
  write(0, pattern(0, 65536, 1));  // the next try marks it
  EXPECT_TRUE(stored()[0].in_use());
  close_and_check();
}

// The mark may have been lost by the failed flush, and nothing would indicate the second write.
TEST_F(BitmapMarks, ARequestThatWaitedForFailedMarksFails) {
  const Layout layout = layout_of(kMiB, 65536);
  open(disks_with_bitmaps(layout, {{"follows", layout::bitmap_flag::kAuto}}), layout);
  opened_.file->add_rule({.operation = faults::Operation::kFlush});
  const std::vector<uint8_t> bytes = pattern(0, 65536, 1);
  uint32_t failures = 0;
  const auto try_write = [](Image* image, ConstBytes from, uint64_t offset,
                            uint32_t* count) -> Task<void> {
    try {
      co_await image->write(offset, from, WriteFlags::kNone);
    } catch (const Error&) {
      ++*count;
    }
  };
  std::vector<Task<void>> tasks;
  tasks.push_back(try_write(&image(), bytes, 0, &failures));
  tasks.push_back(try_write(&image(), bytes, 65536, &failures));
  loop_.run(when_all(std::move(tasks)));
  EXPECT_EQ(failures, 2u);
}

// Otherwise another, valid bitmap, which does not follow the writes, would still be trusted.
TEST_F(BitmapMarks, IfOneCannotBeReadTheFirstWriteClearsTheAutoclearBit) {
  const Layout layout = layout_of(kMiB, 65536);
  Disks disks = disks_with_bitmaps(
      layout, {{"follows", layout::bitmap_flag::kAuto}, {"broken", layout::bitmap_flag::kAuto}});
  const layout::HeaderCluster first = layout::HeaderCluster::parse(disks.file->get(0, 65536), {});
  const uint64_t directory = first.extensions.bitmaps->directory_offset.value();
  layout::BitmapEntry sound;
  sound.name = "follows";
  const uint64_t broken = directory + sound.encoded_size();
  disks.file->put(broken + 16, std::vector<uint8_t>{7});  // an unknown type
  open(std::move(disks), layout);
  EXPECT_TRUE(image().bitmaps().empty());
  const auto has_bit = [this] {
    const std::vector<uint8_t> features = opened_.file_memory->get(88, 8);
    return (load_big_endian<uint64_t>(features.data()) & layout::autoclear::kBitmaps) != 0;
  };
  read(0, 65536);
  flush();
  EXPECT_TRUE(has_bit());
  opened_.file->clear_events();
  write(0, pattern(0, 65536, 1));
  // Only the header is written, and is durable before anything else is.
  for (const faults::FaultEvent& event : opened_.file->events()) {
    if (event.operation == faults::Operation::kFlush) break;
    if (event.operation == faults::Operation::kWrite) EXPECT_LT(event.offset, 65536u);
  }
  EXPECT_GE(file_count(faults::Operation::kFlush), 1u);
  EXPECT_FALSE(has_bit());
  loop_.run(image().close());
}

// Its first flush fails for lack of memory.
class PoorDevice final : public filter::FilterDevice {
 public:
  explicit PoorDevice(std::unique_ptr<BlockDevice> below) : FilterDevice(std::move(below)) {}
  const char* driver() const override { return below().driver(); }
  Task<void> do_flush() override {
    if (flushes++ == 0) throw std::bad_alloc();
    return below().flush();
  }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    lengths.push_back(flushes > 1 ? 0 : from.size());
    return below().write(offset, std::move(from), flags);
  }

  uint64_t flushes = 0;
  std::vector<uint64_t> lengths;  // of writes before the first flush that succeeded; 0: after it
};

TEST_F(BitmapMarks, MarksThatCouldNotBeFlushedAreRepeatedBeforeTheFirstWrite) {
  const Layout layout = layout_of(kMiB, 65536);
  Disks disks = disks_with_bitmaps(layout, {{"follows", layout::bitmap_flag::kAuto}});
  auto file = std::make_unique<PoorDevice>(std::move(disks.file));
  PoorDevice* const device = file.get();
  const std::unique_ptr<Image> image = loop_.run(Image::open(std::move(file), for_writing()));
  const std::vector<uint8_t> bytes = pattern(0, 65536, 1);
  EXPECT_THROW(loop_.run(image->write(0, ConstBytes(bytes))), std::bad_alloc);
  EXPECT_FALSE(image->bitmaps()[0].in_use());
  loop_.run(image->write(0, ConstBytes(bytes)));
  EXPECT_TRUE(image->bitmaps()[0].in_use());
  ASSERT_GE(device->lengths.size(), 3u);
  EXPECT_EQ(device->lengths[0], 4u);
  EXPECT_EQ(device->lengths[1], 4u);
  EXPECT_EQ(device->lengths[2], 0u);
  loop_.run(image->close());
}

TEST_F(BitmapMarks, AnImageWithBitmapsKeepsItsSize) {
  const Layout layout = layout_of(kMiB, 65536);
  open(disks_with_bitmaps(layout, {{"follows", layout::bitmap_flag::kAuto}}), layout);
  for (const uint64_t size : {2 * kMiB, kMiB / 2}) {
    const Error error = refusal([&] { loop_.run(image().resize(size, Preallocation::kOff)); });
    EXPECT_EQ(error.data().code, "qcow2-resize-with-bitmaps");
    EXPECT_EQ(error.data().name, "follows");
  }
  EXPECT_FALSE(stored()[0].in_use());
  write(0, pattern(0, 512, 1));
  const Error error = refusal([&] { loop_.run(image().resize(2 * kMiB, Preallocation::kOff)); });
  EXPECT_EQ(error.data().code, "qcow2-resize-with-bitmap-in-use");
  EXPECT_EQ(error.data().name, "follows");
  EXPECT_EQ(error.hint(), "Try block-dirty-bitmap-remove to delete this bitmap from disk");
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
