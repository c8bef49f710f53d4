// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qcow2/repair/repair.h"
#include "testing/simulated_disk.h"
#include "unit/qcow2/repair/repaired_image.h"

// The power fails at every write and flush of a repair, with any subset of what was not flushed on
// disk.
namespace byre::qcow2::test {
namespace {

struct Case {
  Damage damage;
  CreateOptions options;
  std::string name;
  bool has_bitmaps = false;  // sound ones, before the damage
};

// Kinds of damage that are also tried on other than standard images: a few whose repairs write
// most.
bool is_for_each_kind(const Damage& damage) {
  constexpr std::string_view kNames[] = {"RefcountsZero", "NoRefcountBlock",
                                         "Dirty",         "RefcountBlockOnL1",
                                         "CopiedMissing", "RefcountTableGone"};
  return std::ranges::find(kNames, damage.name) != std::end(kNames);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Damage& damage : damages()) {
    all.push_back({damage, CheckedImage::small_options(), damage.name});
    CreateOptions narrow = CheckedImage::small_options();
    narrow.lazy_refcounts = true;
    all.push_back({damage, narrow, damage.name + "Lazy"});
    if (!is_for_each_kind(damage)) continue;
    all.push_back({damage, CheckedImage::small_options(), damage.name + "Bitmaps", true});
    CreateOptions data = CheckedImage::small_options();
    data.data_filename = "data";
    all.push_back({damage, data, damage.name + "DataFile"});
    data.data_file_raw = true;
    all.push_back({damage, data, damage.name + "RawDataFile"});
  }
  return all;
}

// The bitmaps, with the bits of each.
using BitmapView = std::vector<std::pair<layout::BitmapEntry, std::vector<uint8_t>>>;

Task<BitmapView> view_bitmaps(const storage::MemoryDevice* file) {
  OpenOptions options;
  options.for_check = true;
  const std::unique_ptr<Image> image = co_await Image::open(file->clone(), std::move(options));
  BitmapView view;
  for (const layout::BitmapEntry& entry : image->bitmaps()) {
    const uint64_t table = entry.table_offset.value();
    const uint64_t bits = load_big_endian<uint64_t>(file->get(table, 8).data());
    view.emplace_back(entry, file->get(bits, image->geometry().cluster_size()));
  }
  co_await image->close();
  co_return view;
}

// Everything that can be read of an image.
struct View {
  GuestView guest;
  BitmapView bitmaps;
};

void expect_nothing_lost(const View& before, const View& after) {
  test::expect_nothing_lost(before.guest, after.guest);
  EXPECT_TRUE(before.bitmaps == after.bitmaps);
}

std::unique_ptr<storage::MemoryDevice> as_device(const storage::SparseBytes& contents) {
  std::vector<uint8_t> bytes(contents.size());
  contents.read(0, bytes);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes));
}

class RepairPowerCut : public testing::TestWithParam<Case> {
 protected:
  RepairPowerCut() : image_(GetParam().options) {
    if (GetParam().has_bitmaps) put_bitmaps(image_, {"a", "bb", "ccc"});
    GetParam().damage.apply(image_);
  }
  View view(const storage::MemoryDevice& file) const {
    View view;
    std::unique_ptr<BlockDevice> data;
    if (image_.data() != nullptr) data = image_.data()->clone();
    view.guest = sync_wait(view_guest(file.clone(), std::move(data)));
    if (GetParam().has_bitmaps) view.bitmaps = sync_wait(view_bitmaps(&file));
    return view;
  }

  CheckedImage image_;
};

TEST_P(RepairPowerCut, LeavesAnImageThatCanBeRepairedWithAllThatCouldBeRead) {
  const View before = view(image_.file());
  EXPECT_EQ(before.bitmaps.size(), GetParam().has_bitmaps ? 3u : 0u);
  EXPECT_TRUE(image_.data() == nullptr || before.guest[0].has_value());
  storage::SparseBytes contents(image_.file().size());
  contents.write(0, image_.file().get(0, image_.file().size()));
  faults::SimulatedDisk disk(faults::SimulatedCache(std::move(contents)), {.seed = 7});
  uint64_t cut = 0;
  disk.set_on_moment([&](faults::SimulatedDisk::Moment moment, uint64_t) {
    const bool is_flush = moment != faults::SimulatedDisk::Moment::kWritten;
    for (int i = 0; i < (is_flush ? 12 : 4) && !testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE(testing::Message() << "cut " << cut);
      const std::unique_ptr<storage::MemoryDevice> left = as_device(disk.cache().power_cut(cut++));
      expect_nothing_lost(before, view(*left));
      EXPECT_EQ(repair(*left, GetParam().damage).result.is_clean(),
                GetParam().damage.can_be_repaired);
      expect_nothing_lost(before, view(*left));
    }
  });
  RepairOptions options;
  options.drops_unreadable = GetParam().damage.drops_unreadable;
  Loop loop({.seed = 7});
  loop.run(repair_on(&disk, std::move(options)));
  disk.set_on_moment(nullptr);
  expect_nothing_lost(before, view(*as_device(disk.cache().power_cut(0))));
  if (GetParam().damage.can_be_repaired) EXPECT_GT(cut, 0u);
}

INSTANTIATE_TEST_SUITE_P(Damages, RepairPowerCut, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::qcow2::test
