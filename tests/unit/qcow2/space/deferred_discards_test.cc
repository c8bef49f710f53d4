// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "async/when_all.h"
#include "qcow2/image/image_parts.h"
#include "storage/memory_device.h"
#include "unit/qcow2/written_image.h"

// Discards of clusters that stay allocated, on a device whose discards destroy data: a discarded
// range may have any contents, at once, also after a power cut.
namespace byre::qcow2::test {
namespace {

using storage::MemoryDevice;

constexpr uint64_t kCluster = 65536;
constexpr uint8_t kGarbage = 0xd5;

class DestroyingDevice final : public BlockDevice {
 public:
  explicit DestroyingDevice(std::unique_ptr<MemoryDevice> contents)
      : now_(std::move(contents)), durable_(now_->clone()) {}

  const std::string& filename() const override { return now_->filename(); }
  const char* driver() const override { return "destroying"; }
  uint64_t size() const override { return now_->size(); }
  const Limits& limits() const override { return now_->limits(); }
  bool is_read_only() const override { return false; }
  Task<void> do_read(uint64_t offset, ReadBuffers to) override { return now_->read(offset, to); }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    return now_->write(offset, from, flags);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    return now_->write_zeroes(offset, length, flags);
  }
  // Slow: begins and ends some turns of the loop later.
  Task<void> do_discard(uint64_t offset, uint64_t length) override {
    ++discards;
    for (int turn = 0; turn < 20; ++turn) co_await Loop::current().yield();
    const std::vector<uint8_t> garbage(length, kGarbage);
    now_->put(offset, garbage);
    if (offset + length <= durable_->size()) durable_->put(offset, garbage);
    for (int turn = 0; turn < 20; ++turn) co_await Loop::current().yield();
  }
  Task<void> do_flush() override {
    if (fails_flushes) throw Error::from_errno(ENOSPC, "flush");
    durable_ = now_->clone();
    co_return;
  }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override {
    return now_->extents(offset, length, scope);
  }
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override {
    return now_->resize(new_size, preallocation);
  }
  Task<void> do_close() override { return now_->close(); }

  std::unique_ptr<MemoryDevice> after_power_cut() const { return durable_->clone(); }

  uint64_t discards = 0;
  bool fails_flushes = false;

 private:
  std::unique_ptr<MemoryDevice> now_;
  std::unique_ptr<MemoryDevice> durable_;
};

enum class Where { kKeptCluster, kKeptClusterOfSubclusters, kDataFile };

class DeferredDiscardsTest : public testing::TestWithParam<Where> {
 protected:
  void SetUp() override {
    layout_.create.size = 16 * kCluster;
    if (GetParam() == Where::kDataFile) layout_.create.data_filename = "data";
    layout_.create.extended_l2 = GetParam() == Where::kKeptClusterOfSubclusters;
    Disks disks = make_disks(layout_);
    options_ = for_writing();
    options_.discard_no_unref = GetParam() != Where::kDataFile;
    auto file = std::make_unique<DestroyingDevice>(std::move(disks.file));
    file_ = discarded_ = file.get();
    image_ = loop_.run(Image::open(std::move(file), options_));
    if (!disks.data) return;
    auto data = std::make_unique<DestroyingDevice>(std::move(disks.data));
    discarded_ = data.get();
    image_->set_data_file(std::move(data));
  }
  void write(uint64_t offset, const std::vector<uint8_t>& bytes) {
    loop_.run(image_->write(offset, WriteBuffers(ConstBytes(bytes)), WriteFlags::kNone));
  }
  void discard(uint64_t offset, uint64_t length) { loop_.run(image_->discard(offset, length)); }
  void flush() { loop_.run(image_->flush()); }
  std::vector<uint8_t> read() { return loop_.run(read_all(image_.get())); }
  std::vector<uint8_t> read_after_power_cut() {
    Disks disks;
    disks.file = file_->after_power_cut();
    if (discarded_ != file_) disks.data = discarded_->after_power_cut();
    expect_sound(disks, true);
    return sync_wait(read_disks(std::move(disks), std::nullopt));
  }
  void close() { loop_.run(image_->close()); }

  Loop loop_;
  Layout layout_;
  OpenOptions options_;
  std::unique_ptr<Image> image_;
  DestroyingDevice* file_ = nullptr;
  DestroyingDevice* discarded_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Of, DeferredDiscardsTest,
                         testing::Values(Where::kKeptCluster, Where::kKeptClusterOfSubclusters,
                                         Where::kDataFile));

TEST_P(DeferredDiscardsTest, APowerCutBeforeTheFlushFindsTheOldBytes) {
  std::vector<uint8_t> expected = pattern(0, 16 * kCluster, 1);
  write(0, expected);
  flush();
  discard(2 * kCluster, 4 * kCluster);
  loop_.run(image_->write_zeroes(8 * kCluster, 2 * kCluster, WriteFlags::kMayUnmap));
  EXPECT_EQ(first_difference(read_after_power_cut(), expected), std::nullopt);
  EXPECT_EQ(discarded_->discards, 0u);
  flush();
  EXPECT_EQ(discarded_->discards, 2u);
  std::fill_n(expected.begin() + 2 * kCluster, 4 * kCluster, uint8_t{0});
  std::fill_n(expected.begin() + 8 * kCluster, 2 * kCluster, uint8_t{0});
  EXPECT_EQ(first_difference(read_after_power_cut(), expected), std::nullopt);
  EXPECT_EQ(first_difference(read(), expected), std::nullopt);
  close();
}

TEST_P(DeferredDiscardsTest, WhatIsWrittenAgainBeforeTheFlushStays) {
  std::vector<uint8_t> expected = pattern(0, 16 * kCluster, 1);
  write(0, expected);
  flush();
  discard(0, 16 * kCluster);
  std::fill(expected.begin(), expected.end(), uint8_t{0});
  for (const uint64_t offset : {uint64_t{0}, 3 * kCluster, 7 * kCluster + 512, 15 * kCluster}) {
    const std::vector<uint8_t> bytes = pattern(offset, 4096, 2);
    write(offset, bytes);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<ptrdiff_t>(offset));
  }
  EXPECT_EQ(first_difference(read(), expected), std::nullopt);
  flush();
  EXPECT_EQ(discarded_->discards, 3u);
  EXPECT_EQ(first_difference(read(), expected), std::nullopt);
  EXPECT_EQ(first_difference(read_after_power_cut(), expected), std::nullopt);
  close();
}

Task<void> write_after(Image* image, int turns, uint64_t offset,
                       const std::vector<uint8_t>* bytes) {
  for (int turn = 0; turn < turns; ++turn) co_await Loop::current().yield();
  const WriteBuffers from((ConstBytes(*bytes)));
  co_await image->write(offset, from, WriteFlags::kNone);
}

TEST_P(DeferredDiscardsTest, WhatIsWrittenWhileTheFlushRunsStays) {
  for (int turns = 0; turns < 60; ++turns) {
    std::vector<uint8_t> expected = pattern(0, 16 * kCluster, 1);
    write(0, expected);
    flush();
    discard(0, 16 * kCluster);
    std::fill(expected.begin(), expected.end(), uint8_t{0});
    const uint64_t offset = 5 * kCluster + 1024;
    const std::vector<uint8_t> bytes = pattern(offset, 2048, 3);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<ptrdiff_t>(offset));
    std::vector<Task<void>> both;
    both.push_back(image_->flush());
    both.push_back(write_after(image_.get(), turns, offset, &bytes));
    loop_.run(when_all(std::move(both)));
    ASSERT_EQ(first_difference(read(), expected), std::nullopt) << turns;
    flush();
    ASSERT_EQ(first_difference(read(), expected), std::nullopt) << turns;
    ASSERT_EQ(first_difference(read_after_power_cut(), expected), std::nullopt) << turns;
  }
  close();
}

TEST_P(DeferredDiscardsTest, PartsOfAClusterAreNotDiscarded) {
  std::vector<uint8_t> expected = pattern(0, 16 * kCluster, 1);
  write(0, expected);
  loop_.run(image_->write_zeroes(4096, 8192, WriteFlags::kMayUnmap));
  std::fill_n(expected.begin() + 4096, 8192, uint8_t{0});
  flush();
  EXPECT_EQ(discarded_->discards, 0u);
  EXPECT_EQ(first_difference(read(), expected), std::nullopt);
  close();
}

TEST_P(DeferredDiscardsTest, AFlushThatFailsDiscardsNothing) {
  std::vector<uint8_t> expected = pattern(0, 16 * kCluster, 1);
  write(0, expected);
  flush();
  discard(0, 8 * kCluster);
  file_->fails_flushes = true;
  EXPECT_THROW(flush(), Error);
  EXPECT_EQ(discarded_->discards, 0u);
  EXPECT_EQ(first_difference(read_after_power_cut(), expected), std::nullopt);
  EXPECT_THROW(close(), Error);
}

TEST_P(DeferredDiscardsTest, HappenAtCloseAtTheLatest) {
  write(0, pattern(0, 16 * kCluster, 1));
  discard(0, 8 * kCluster);
  close();
  EXPECT_EQ(discarded_->discards, 1u);
  std::vector<uint8_t> expected = pattern(0, 16 * kCluster, 1);
  std::fill_n(expected.begin(), 8 * kCluster, uint8_t{0});
  EXPECT_EQ(first_difference(read_after_power_cut(), expected), std::nullopt);
}

// Discards of freed clusters: data written by the next owner of a cluster survives, even if the
// discard of the former contents takes long.
TEST(DiscardsOfFreedClusters, EndBeforeTheClusterIsReallocated) {
  Layout layout;
  layout.create.size = 32 * kCluster;
  for (int turns = 0; turns < 60; turns += 2) {
    Loop loop;
    auto file = std::make_unique<DestroyingDevice>(std::move(make_disks(layout).file));
    DestroyingDevice* const device = file.get();
    const std::unique_ptr<Image> image = loop.run(Image::open(std::move(file), [] {
      OpenOptions options;
      options.writable = true;
      options.policy.discard = DiscardPolicy::kUnmap;
      return options;
    }()));
    std::vector<uint8_t> expected = pattern(0, 32 * kCluster, 1);
    const ReadBuffers half(Bytes(expected).first(16 * kCluster));
    loop.run(image->write(0, half, WriteFlags::kNone));
    loop.run(image->flush());
    loop.run(image->discard(0, 16 * kCluster));
    const std::vector<uint8_t> second(expected.begin() + 16 * kCluster, expected.end());
    std::vector<Task<void>> both;
    both.push_back(image->flush());
    both.push_back(write_after(image.get(), turns, 16 * kCluster, &second));
    loop.run(when_all(std::move(both)));
    // Reuses what was freed, at the latest now.
    const std::vector<uint8_t> again = pattern(0, 8 * kCluster, 2);
    loop.run(image->write(0, WriteBuffers(ConstBytes(again)), WriteFlags::kNone));
    loop.run(image->flush());
    EXPECT_GT(device->discards, 0u);
    std::ranges::copy(again, expected.begin());
    std::fill_n(expected.begin() + 8 * kCluster, 8 * kCluster, uint8_t{0});
    ASSERT_EQ(first_difference(loop.run(read_all(image.get())), expected), std::nullopt) << turns;
    EXPECT_LE(device->size(), 37 * kCluster) << "nothing that was freed is used again";
    loop.run(image->close());
  }
}

}  // namespace
}  // namespace byre::qcow2::test
