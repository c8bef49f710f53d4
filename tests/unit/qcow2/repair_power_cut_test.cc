// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "qcow2/repairer.h"
#include "storage/simulated_disk.h"
#include "unit/qcow2/repaired_image.h"

// Power fails at every write and flush of a repair, with any part of what was not flushed on disk.
namespace byre::qcow2::test {
namespace {

struct Case {
  Damage damage;
  CreateOptions options;
  std::string name;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Damage& damage : damages()) {
    all.push_back({damage, CheckedImage::small_options(), damage.name});
    CreateOptions narrow = CheckedImage::small_options();
    narrow.lazy_refcounts = true;
    all.push_back({damage, narrow, damage.name + "Lazy"});
  }
  return all;
}

std::unique_ptr<storage::MemoryDevice> as_device(const storage::SparseBytes& contents) {
  std::vector<uint8_t> bytes(contents.size());
  contents.read(0, bytes);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes));
}

class RepairPowerCut : public testing::TestWithParam<Case> {};

TEST_P(RepairPowerCut, LeavesAnImageThatCanBeRepairedWithAllThatCouldBeRead) {
  CheckedImage image(GetParam().options);
  GetParam().damage.apply(image);
  const GuestView before = sync_wait(view_guest(image.file().clone()));
  storage::SparseBytes contents(image.file().size());
  contents.write(0, image.file().get(0, image.file().size()));
  storage::SimulatedDisk disk(storage::SimulatedCache(std::move(contents)), {.seed = 7});
  uint64_t cut = 0;
  disk.set_on_moment([&](storage::SimulatedDisk::Moment moment, uint64_t) {
    const bool is_flush = moment != storage::SimulatedDisk::Moment::kWritten;
    for (int i = 0; i < (is_flush ? 12 : 4) && !testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE(testing::Message() << "cut " << cut);
      const std::unique_ptr<storage::MemoryDevice> left = as_device(disk.cache().power_cut(cut++));
      expect_nothing_lost(before, sync_wait(view_guest(left->clone())));
      EXPECT_EQ(repair(*left, GetParam().damage).result.is_clean(),
                GetParam().damage.can_be_mended);
      expect_nothing_lost(before, sync_wait(view_guest(left->clone())));
    }
  });
  RepairOptions options;
  options.drops_unreadable = GetParam().damage.drops_unreadable;
  Loop loop({.seed = 7});
  loop.run(repair_on(&disk, std::move(options)));
  disk.set_on_moment(nullptr);
  expect_nothing_lost(before, sync_wait(view_guest(as_device(disk.cache().power_cut(0)))));
  if (GetParam().damage.can_be_mended) EXPECT_GT(cut, 0u);
}

INSTANTIATE_TEST_SUITE_P(Damages, RepairPowerCut, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::qcow2::test
