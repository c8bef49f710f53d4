// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checked.h"
#include "unit/qcow2/repair/repaired_image.h"

// A file that is only the beginning of its image, as an unfinished copy leaves it: nothing done to
// it, repairs included, loses data once the rest arrives.
namespace byre::qcow2::test {
namespace {

std::unique_ptr<storage::MemoryDevice> beginning_of(const std::vector<uint8_t>& whole,
                                                    uint64_t length) {
  return std::make_unique<storage::MemoryDevice>(ConstBytes(whole).first(length));
}

std::vector<uint8_t> bytes_of(CheckedImage& image) {
  return image.file().get(0, image.file().size());
}

// Returns whether the repair completed.
bool try_repair(storage::MemoryDevice& file, RepairScope scope) {
  try {
    repair(file, scope);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void add_snapshot(CheckedImage& image) {
  const uint64_t l1 = image.append(image.file().get(image.l1_place(0), 8));
  image.put_snapshots({snapshot_at(image, l1)});
  repair(image.file());
}

class PartialImage : public testing::TestWithParam<RepairScope> {};

TEST_P(PartialImage, IsCompleteAgainWhenTheRestArrives) {
  for (const bool has_snapshot : {false, true}) {
    for (const char* const damage : {"", "RefcountOfDataZero", "RefcountsZero", "Leak"}) {
      CheckedImage image;
      if (has_snapshot) add_snapshot(image);
      const GuestView guest = sync_wait(view_guest(image.file().clone()));
      const std::vector<Damage> all = damages();
      const auto found = std::ranges::find(all, damage, &Damage::name);
      if (found != all.end()) found->apply(image);
      const std::vector<uint8_t> whole = bytes_of(image);
      for (uint64_t length = 4096; length < whole.size(); length += 2048) {
        SCOPED_TRACE(
            fmt::format("{} of {}, {}, snapshot {}", length, whole.size(), damage, has_snapshot));
        const auto file = beginning_of(whole, length);
        try_repair(*file, GetParam());
        // The last cluster of data need not be complete.
        if (whole.size() - length >= 4096) EXPECT_LE(file->size(), align_up(length, 4096));
        file->put(length, ConstBytes(whole).subspan(length));
        expect_nothing_lost(guest, sync_wait(view_guest(file->clone())));
        const Repaired again = repair(*file);
        EXPECT_TRUE(again.result.is_clean());
        if (*damage != 'R') EXPECT_EQ(again.result.corruptions_fixed, 0u);
        expect_nothing_lost(guest, sync_wait(view_guest(file->clone())));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scopes, PartialImage,
                         testing::Values(RepairScope::kLeaks, RepairScope::kAll));

TEST(OnePartialImage, IsReportedAndNotTouched) {
  CheckedImage image;
  // A zero cluster needs no host cluster, wherever that would be.
  image.put_word(image.l2_place(2), layout::L2Entry::kZero);
  image.set_refcount(image.data_offset(1) + 4096, 0);
  const std::vector<uint8_t> whole = bytes_of(image);
  const auto file = beginning_of(whole, image.data_offset(1));
  const Repaired repaired = repair(*file);
  EXPECT_GT(repaired.result.check.corruptions, 0u);
  EXPECT_EQ(repaired.result.check.check_errors, 0u);
  EXPECT_THAT(repaired.texts(),
              testing::Contains(testing::StartsWith("References past the end of the file are")));
  ASSERT_EQ(file->size(), image.data_offset(1));
  EXPECT_TRUE(
      std::ranges::equal(file->get(0, file->size()), ConstBytes(whole).first(file->size())));
}

TEST(OnePartialImage, MissingPartsAreGivenUpOnRequest) {
  CheckedImage image;
  const std::vector<uint8_t> whole = bytes_of(image);
  const auto file = beginning_of(whole, image.data_offset(1));
  EXPECT_TRUE(repair(*file, RepairScope::kAll, true).result.is_clean());
  EXPECT_EQ(image.check_on(*file).result.corruptions, 0u);
}

// Before and after the rest arrives, a guest's writes overwrite nothing else.
TEST(OnePartialImage, CanBeWrittenToMeanwhile) {
  for (const bool is_repaired : {false, true}) {
    for (const bool forgets_refcounts : {false, true}) {
      CheckedImage image;
      const uint64_t length = image.geometry().clusters_for(image.file().size()) * 4096;
      const uint64_t data = image.append(image.file().get(image.data_offset(1), 4096));
      image.put_word(image.l2_place(1), data | layout::L2Entry::kCopied);
      repair(image.file());
      const GuestView guest = sync_wait(view_guest(image.file().clone()));
      const std::vector<uint8_t> whole = bytes_of(image);
      const auto file = beginning_of(whole, length);
      ASSERT_LT(length, whole.size());
      if (forgets_refcounts) {
        std::vector<uint8_t> block = file->get(image.block(), 4096);
        for (uint64_t i = length / 4096; i < whole.size() / 4096; ++i) {
          layout::store_refcount(block, i, 4, 0);
        }
        file->put(image.block(), block);
        if (!is_repaired) continue;
      }
      if (is_repaired) repair(*file);
      OpenOptions options;
      options.writable = true;
      auto clone = file->clone();
      storage::MemoryDevice* const written = clone.get();
      const auto opened = sync_wait(Image::open(std::move(clone), options));
      std::vector<uint8_t> bytes(4096, 0x77);
      sync_wait(opened->write(uint64_t{9} * 4096, WriteBuffers(Bytes(bytes))));
      sync_wait(opened->flush());
      auto after = written->clone();
      sync_wait(opened->close());
      after->put(length, ConstBytes(whole).subspan(length));
      GuestView now = sync_wait(view_guest(after->clone()));
      EXPECT_TRUE(now[9] == bytes);
      now[9] = guest[9];
      expect_nothing_lost(guest, now);
    }
  }
}

}  // namespace
}  // namespace byre::qcow2::test
