// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "testing/simulated_disk.h"
#include "unit/qcow2/repair/repaired_image.h"

// Repairs of files that cannot grow.
namespace byre::qcow2::test {
namespace {

using faults::SimulatedDisk;

storage::SparseBytes contents_of(CheckedImage& image) {
  storage::SparseBytes contents(image.file().size());
  contents.write(0, image.file().get(0, image.file().size()));
  return contents;
}

std::unique_ptr<storage::MemoryDevice> as_device(const SimulatedDisk& disk) {
  const storage::SparseBytes& contents = disk.cache().now();
  std::vector<uint8_t> bytes(contents.size());
  contents.read(0, bytes);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes));
}

struct Told {
  RepairResult result;
  std::vector<std::string> texts;
};

Told repair_disk(SimulatedDisk& disk, const Damage& damage) {
  Told told;
  RepairOptions options;
  options.drops_unreadable = damage.drops_unreadable;
  options.check.on_finding = [&told](const Finding& each) {
    told.texts.push_back(problem_of(each).message());
  };
  Loop loop({.seed = 3});
  told.result = loop.run(repair_on(&disk, std::move(options)));
  return told;
}

// Adds clusters to the file, before its last one, that nothing refers to.
void make_room(CheckedImage& image, uint64_t clusters) {
  const uint64_t first = image.geometry().clusters_for(image.file().size());
  const uint64_t data = (first + clusters) * 4096;
  image.file().put(data, image.file().get(image.data_offset(1), 4096));
  image.set_refcount(image.data_offset(1), 0);
  image.set_refcount(data, 1);
  image.put_word(image.l2_place(1), data | layout::L2Entry::kCopied);
}

class EachDamageInside : public testing::TestWithParam<Damage> {};

TEST_P(EachDamageInside, IsRepairedInFreeClusters) {
  CheckedImage image;
  make_room(image, 40);
  GetParam().apply(image);
  const GuestView before = sync_wait(view_guest(image.file().clone()));
  const uint64_t size = image.file().size();
  SimulatedDisk disk(faults::SimulatedCache(contents_of(image)), {.seed = 1, .grows = false});
  uint64_t cut = 0;
  disk.set_on_moment([&](SimulatedDisk::Moment, uint64_t) {
    if (testing::Test::HasFailure()) return;
    SCOPED_TRACE(testing::Message() << "cut " << cut);
    const storage::SparseBytes contents = disk.cache().power_cut(cut++);
    std::vector<uint8_t> bytes(contents.size());
    contents.read(0, bytes);
    storage::MemoryDevice left((ConstBytes(bytes)));
    expect_nothing_lost(before, sync_wait(view_guest(left.clone())));
    EXPECT_EQ(repair(left, GetParam()).result.is_clean(), GetParam().can_be_repaired);
    expect_nothing_lost(before, sync_wait(view_guest(left.clone())));
  });
  EXPECT_EQ(repair_disk(disk, GetParam()).result.is_clean(), GetParam().can_be_repaired);
  EXPECT_EQ(disk.size(), size);
  expect_nothing_lost(before, sync_wait(view_guest(as_device(disk))));
}

std::vector<Damage> damages_inside() {
  std::vector<Damage> all = damages();
  // While something cannot be followed, only clusters past all that are in use are certainly free.
  std::erase_if(all, [](const Damage& each) {
    return each.name == "L1TableLongerThanItsPlace" || each.name == "L1TableOnTheHeader" ||
           each.name == "L2TableOnGuestData";
  });
  return all;
}

INSTANTIATE_TEST_SUITE_P(Repairer, EachDamageInside, testing::ValuesIn(damages_inside()),
                         [](const auto& info) { return info.param.name; });

const Damage& damage_named(const std::string& name) {
  static const std::vector<Damage> all = damages();
  return *std::ranges::find(all, name, &Damage::name);
}

TEST(RepairWithoutRoom, WritesBlocksInPlaceWhoseValuesAreWrong) {
  for (const bool is_full : {false, true}) {
    CheckedImage image;
    const Damage& damage = damage_named("RefcountsZero");
    damage.apply(image);
    const uint64_t size = image.file().size();
    SimulatedDisk disk(faults::SimulatedCache(contents_of(image)), {.seed = 1, .grows = is_full});
    if (is_full) disk.set_room(size);
    EXPECT_TRUE(repair_disk(disk, damage).result.is_clean());
    EXPECT_EQ(disk.size(), size);
    EXPECT_THAT(image.check_on(*as_device(disk)).texts(), testing::IsEmpty());
  }
}

TEST(RepairWithoutRoom, SaysHowMuchIsMissing) {
  CheckedImage image;
  damage_named("NoRefcountBlock").apply(image);
  const std::vector<uint8_t> before = image.file().get(0, image.file().size());
  SimulatedDisk disk(faults::SimulatedCache(contents_of(image)), {.seed = 1, .grows = false});
  std::vector<std::string> texts;
  RepairOptions options;
  options.check.on_finding = [&texts](const Finding& each) {
    texts.push_back(problem_of(each).message());
  };
  Loop loop({.seed = 3});
  try {
    loop.run(repair_on(&disk, std::move(options)));
    FAIL() << "there is no space";
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), ENOSPC);
    EXPECT_THAT(error.message(), testing::HasSubstr("bytes are missing"));
  }
  EXPECT_THAT(texts, testing::Contains(testing::HasSubstr("bytes are missing")));
  EXPECT_EQ(as_device(disk)->get(0, before.size()), before);
}

}  // namespace
}  // namespace byre::qcow2::test
