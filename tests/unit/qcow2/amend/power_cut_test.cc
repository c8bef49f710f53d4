// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "filter/borrowed_device.h"
#include "testing/simulated_disk.h"
#include "unit/qcow2/amend/amended_image.h"

// The power fails at every write and flush of a change, with any subset of what was not flushed on
// disk. The image reads as before, is sound, and has the property as before or as wanted; the same
// change then does what is left.
namespace byre::qcow2::test {
namespace {

constexpr uint64_t kSize = kMiB;

struct Case {
  std::string name;
  Layout layout;
  std::function<Task<void>(Image&)> change;
  std::function<bool(const layout::Header&)> is_changed;
};

Layout with_name(Layout layout, size_t length) {
  layout.create.backing_filename = std::string(length, 'n');
  layout.create.backing_format = "raw";
  layout.backing_size = kSize / 2;
  return layout;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&all](std::string name, Layout layout, std::function<Task<void>(Image&)> change,
                          std::function<bool(const layout::Header&)> is_changed) {
    all.push_back({std::move(name), std::move(layout), std::move(change), std::move(is_changed)});
  };
  for (const uint64_t cluster_size : {512u, 4096u}) {
    const std::string size = std::to_string(cluster_size);
    for (const uint32_t bits : {4u, 64u}) {
      add(
          "Bits" + std::to_string(bits) + "Clusters" + size, layout_of(kSize, cluster_size),
          [bits](Image& image) { return image.set_refcount_bits(bits, nullptr); },
          [bits](const layout::Header& header) { return header.refcount_bits() == bits; });
    }
  }
  for (const uint64_t cluster_size : {4096u, 65536u}) {
    const std::string size = std::to_string(cluster_size);
    const auto down = [](Image& image) { return image.downgrade(false, nullptr); };
    const auto is_2 = [](const layout::Header& header) { return header.version == 2; };
    add("DownClusters" + size, layout_of(kSize, cluster_size), down, is_2);
    add("DownBackingClusters" + size, with_name(layout_of(kSize, cluster_size), 20), down, is_2);
    add("DownLongNameClusters" + size, with_name(layout_of(kSize, cluster_size), 1000), down, is_2);
    const auto up = [](Image& image) { return image.upgrade(); };
    const auto is_3 = [](const layout::Header& header) { return header.version == 3; };
    Layout old = layout_of(kSize, cluster_size);
    old.create.version = 2;
    add("UpClusters" + size, old, up, is_3);
    add("UpBackingClusters" + size, with_name(old, 20), up, is_3);
    add("UpLongNameClusters" + size, with_name(old, 1000), up, is_3);
  }
  add(
      "LazyOn", layout_of(kSize, 4096), [](Image& image) { return image.set_lazy_refcounts(true); },
      [](const layout::Header& header) { return header.has_lazy_refcounts(); });
  Layout lazy = layout_of(kSize, 4096);
  lazy.create.lazy_refcounts = true;
  add(
      "LazyOff", lazy, [](Image& image) { return image.set_lazy_refcounts(false); },
      [](const layout::Header& header) { return !header.has_lazy_refcounts(); });
  return all;
}

std::unique_ptr<storage::MemoryDevice> as_device(const storage::SparseBytes& contents) {
  std::vector<uint8_t> bytes(contents.size());
  contents.read(0, bytes);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes));
}

Task<void> change_on(BlockDevice* disk, const Case* test) {
  std::unique_ptr<Image> image =
      co_await Image::open(std::make_unique<filter::BorrowedDevice>(*disk), for_writing());
  Task<void> change = test->change(*image);
  co_await std::move(change);
  co_await image->close();
}

class AmendPowerCut : public AmendTest, public testing::WithParamInterface<Case> {
 protected:
  void fill() {
    const Layout& layout = GetParam().layout;
    backing_size_ = layout.backing_size;
    open(layout);
    write(0, pattern(0, 300'000, 1));
    zero(0, 64 * kKiB);
    create("one");
    zero(128 * kKiB, 64 * kKiB);
    zero(400'000, 200'000, WriteFlags::kMayUnmap);
    create("two");
    loop_.run(image().close());
  }
};

TEST_P(AmendPowerCut, LeavesASoundImageThatReadsAsBefore) {
  const Case& test = GetParam();
  fill();
  const Contents before = contents();
  storage::SparseBytes bytes(opened_.file_memory->size());
  bytes.write(0, opened_.file_memory->get(0, opened_.file_memory->size()));
  faults::SimulatedDisk disk(faults::SimulatedCache(std::move(bytes)), {.seed = 7});
  uint64_t cut = 0;
  uint64_t changed = 0;
  disk.set_on_moment([&](faults::SimulatedDisk::Moment moment, uint64_t) {
    const bool is_flush = moment != faults::SimulatedDisk::Moment::kWritten;
    for (int i = 0; i < (is_flush ? 6 : 2) && !testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE(testing::Message() << "cut " << cut);
      Disks left;
      left.file = as_device(disk.cache().power_cut(cut++));
      EXPECT_EQ(contents_of(left, names_, backing_size_), before);
      const auto header = layout::Header::parse(left.file->get(0, test.layout.create.cluster_size),
                                                {.for_check = true});
      if (!header.is_dirty()) expect_sound(left, true);
      changed += test.is_changed(header) ? 1 : 0;
      if (cut % 5 != 0) continue;
      sync_wait(change_on(left.file.get(), &test));
      EXPECT_EQ(contents_of(left, names_, backing_size_), before);
      expect_sound(left, true);
      const auto after = layout::Header::parse(left.file->get(0, test.layout.create.cluster_size),
                                               {.for_check = true});
      EXPECT_TRUE(test.is_changed(after));
    }
  });
  Loop loop({.seed = 7});
  loop.run(change_on(&disk, &test));
  disk.set_on_moment(nullptr);
  EXPECT_GT(cut, 0u);
  EXPECT_GT(changed, 0u);
  EXPECT_LT(changed, cut);
  Disks left;
  left.file = as_device(disk.cache().power_cut(0));
  EXPECT_EQ(contents_of(left, names_, backing_size_), before);
  expect_sound(left, false);
}

INSTANTIATE_TEST_SUITE_P(Changes, AmendPowerCut, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::qcow2::test
