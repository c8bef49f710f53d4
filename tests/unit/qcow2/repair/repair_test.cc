// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/repair.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "unit/qcow2/repair/repaired_image.h"

namespace byre::qcow2 {
namespace {

using test::CheckedImage;
using test::Damage;
using test::GuestView;
using test::Repaired;
using test::view;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kCopied = layout::L2Entry::kCopied;

TEST(Repairer, ASoundImageIsNotTouched) {
  CheckedImage image;
  const std::vector<uint8_t> before = image.file().get(0, image.file().size());
  const Repaired repaired = test::repair(image.file());
  EXPECT_THAT(repaired.texts(), IsEmpty());
  EXPECT_EQ(image.file().get(0, image.file().size()), before);
}

TEST(Repairer, ALeakIsFoundAndFreed) {
  CheckedImage image;
  const uint64_t cluster = image.cluster_of(image.append({1}));
  const Repaired repaired = test::repair(image.file(), RepairScope::kLeaks);
  EXPECT_THAT(
      repaired.texts(),
      ElementsAre(
          fmt::format("cluster {} is leaked: its refcount is 1, it has 0 references", cluster),
          fmt::format("Repairing cluster {}: its refcount was 1, it has 0 references", cluster)));
  EXPECT_EQ(repaired.result.leaks_fixed, 1u);
  EXPECT_EQ(repaired.result.corruptions_fixed, 0u);
  EXPECT_EQ(repaired.result.check.leaks, 0u);
}

// A check does not look there; they would become leaks once the file has grown.
TEST(Repairer, RefcountsPastTheEndOfTheFileAreCleared) {
  for (const RepairScope scope : {RepairScope::kLeaks, RepairScope::kAll}) {
    for (const bool is_damaged : {false, true}) {
      CheckedImage image;
      if (is_damaged) image.append({1});
      const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
      image.set_refcount(end, 1);
      image.set_refcount(end + 3 * uint64_t{4096}, 2);
      const Repaired repaired = test::repair(image.file(), scope);
      EXPECT_EQ(repaired.result.leaks_fixed, is_damaged ? 1u : 0u);
      image.file().put(end + 5 * uint64_t{4096}, std::vector<uint8_t>{0});
      EXPECT_THAT(image.check().texts(), IsEmpty());
    }
  }
}

// An entry that refers there has the refcount that it needs.
TEST(Repairer, RefcountsPastTheEndOfTheFileStayWhileSomethingIsWrong) {
  CheckedImage image;
  const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
  image.put_word(image.l2_place(7), (end + 4096) | kCopied);
  image.set_refcount(end + 4096, 1);
  const Repaired repaired = test::repair(image.file(), RepairScope::kLeaks);
  EXPECT_GT(repaired.result.check.corruptions, 0u);
  image.file().put(end + 2 * uint64_t{4096} - 1, std::vector<uint8_t>{0});
  EXPECT_EQ(image.check().result.corruptions, 0u);
}

TEST(Repairer, LeaksAloneLeavesRefcountsThatAreTooLow) {
  CheckedImage image;
  image.put_word(image.l2_place(6), image.word(image.l2_place(0)));
  image.append({1});
  const Repaired repaired = test::repair(image.file(), RepairScope::kLeaks);
  EXPECT_EQ(repaired.result.leaks_fixed, 1u);
  EXPECT_EQ(repaired.result.corruptions_fixed, 0u);
  EXPECT_EQ(repaired.result.check.corruptions, 1u);
  EXPECT_EQ(image.word(image.l2_place(0)) & kCopied, kCopied);
}

TEST(Repairer, LeaksAloneDoesNotRebuild) {
  CheckedImage image;
  image.set_refcount(image.data_offset(0), 0);
  const std::vector<uint8_t> before = image.file().get(0, image.file().size());
  try {
    test::repair(image.file(), RepairScope::kLeaks);
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), EIO);
    EXPECT_THAT(error.message(), HasSubstr("new offset"));
  }
  EXPECT_EQ(image.file().get(0, image.file().size()), before);
}

TEST(Repairer, ARebuildSaysWhatItDoes) {
  CheckedImage image;
  const uint64_t cluster = image.cluster_of(image.data_offset(0));
  const uint64_t table = image.cluster_of(image.table_place(0));
  const uint64_t block = image.cluster_of(image.block());
  image.set_refcount(image.data_offset(0), 0);
  const Repaired repaired = test::repair(image.file());
  EXPECT_THAT(
      repaired.texts(),
      ElementsAre(
          fmt::format("cluster {} may be allocated again: its refcount is 0, it has 1 references",
                      cluster),
          "Rebuilding refcount structure",
          fmt::format("Repairing cluster {}: its refcount was 1, it has 0 references", table),
          fmt::format("Repairing cluster {}: its refcount was 1, it has 0 references", block)));
  EXPECT_EQ(repaired.result.corruptions_fixed, 1u);
  EXPECT_EQ(repaired.result.leaks_fixed, 0u);
}

TEST(Repairer, FlagsAreClearedIfAClusterTurnsOutToBeShared) {
  CheckedImage image;
  image.put_word(image.l2_place(6), image.word(image.l2_place(0)));
  const Repaired repaired = test::repair(image.file());
  EXPECT_EQ(repaired.result.corruptions_fixed, 3u);
  EXPECT_EQ(image.word(image.l2_place(0)) & kCopied, 0u);
  EXPECT_EQ(image.word(image.l2_place(6)) & kCopied, 0u);
}

TEST(Repairer, LeaksAreKeptWhileAnEntryCannotBeFollowed) {
  CheckedImage image;
  const uint64_t leak = image.append({1});
  image.put_word(image.l1_place(0), image.word(image.l1_place(0)) + 512);
  const Repaired repaired = test::repair(image.file());
  EXPECT_THAT(repaired.texts(),
              Contains("Leaked clusters are kept: they may belong to what cannot be read"));
  EXPECT_EQ(repaired.result.leaks_fixed, 0u);
  EXPECT_GT(repaired.result.check.leaks, 0u);
  image.put_word(image.l1_place(0), image.word(image.l1_place(0)) - 512);
  EXPECT_THAT(image.check().texts(),
              Contains(fmt::format("cluster {} is leaked: its refcount is 1, it has 0 references",
                                   image.cluster_of(leak))));
}

TEST(Repairer, LeaksAreKeptByARebuildToo) {
  CheckedImage image;
  const uint64_t data = image.data_offset(1);
  image.set_refcount(image.data_offset(0), 0);
  image.put_word(image.l2_place(1), uint64_t{image.word(image.l2_place(1))} + 512 + 64 * 4096);
  test::repair(image.file());
  const std::vector<uint8_t> block = image.file().get(image.block(), 4096);
  EXPECT_EQ(layout::load_refcount(block, image.cluster_of(data), 4), 1u);
}

TEST(Repairer, WhatRemainsWrongKeepsTheDirtyBit) {
  CheckedImage image;
  test::set_incompatible(image, layout::incompatible::kDirty);
  image.put_word(image.l2_place(1), image.word(image.l2_place(1)) + 512);
  EXPECT_FALSE(test::repair(image.file()).result.is_clean());
  EXPECT_TRUE(image.header().is_dirty());
}

TEST(Repairer, UnknownAutoclearBitsAreClearedBeforeTheFirstChange) {
  CheckedImage image;
  image.append({1});
  image.put<uint64_t>(88, uint64_t{1} << 40);
  test::repair(image.file());
  EXPECT_EQ(image.header().autoclear_features, 0u);
}

TEST(Repairer, IncompleteSnapshotsGetTheSizeOfTheDisk) {
  CheckedImage image;
  const uint64_t l1 = image.append(std::vector<uint8_t>(8));
  layout::Snapshot snapshot = test::snapshot_at(image, l1);
  snapshot.disk_size = std::nullopt;
  snapshot.has_large_vm_state_size = false;
  image.put_snapshots({snapshot});
  const Repaired repaired = test::repair(image.file());
  EXPECT_THAT(repaired.texts(),
              ElementsAre("Repairing snapshot table entry 0, which has no disk size"));
  EXPECT_EQ(repaired.result.corruptions_fixed, 1u);
  OpenOptions options;
  const auto opened = sync_wait(Image::open(image.file().clone(), options));
  ASSERT_EQ(opened->snapshots().size(), 1u);
  EXPECT_EQ(opened->snapshots()[0].disk_size, image.header().size);
  EXPECT_EQ(opened->snapshots()[0].name, "s");
  sync_wait(opened->close());
}

TEST(Repairer, ExtraDataOfSnapshotsBeyondTheLimitIsTruncated) {
  CheckedImage image;
  const uint64_t l1 = image.append(std::vector<uint8_t>(8));
  std::vector<uint8_t> entry = layout::encode_snapshot_table({test::snapshot_at(image, l1)});
  const uint64_t names = entry.size() - 40 - 16;
  entry.insert(entry.begin() + 56, 2000, uint8_t{7});
  store_big_endian<uint32_t>(entry.data() + 36, 2016);
  ASSERT_GT(names, 0u);
  const uint64_t table = image.append(entry);
  image.put<uint32_t>(60, 1);
  image.put<uint64_t>(64, table);
  const Repaired repaired = test::repair(image.file());
  EXPECT_THAT(
      repaired.texts(),
      ElementsAre("2016 bytes of extra data of snapshot table entry 0 are too many: at most 1024"));
  const auto opened = sync_wait(Image::open(image.file().clone(), OpenOptions{}));
  ASSERT_EQ(opened->snapshots().size(), 1u);
  EXPECT_EQ(opened->snapshots()[0].name, "s");
  sync_wait(opened->close());
}

TEST(Repairer, AnL1TableThatASnapshotSharesMovesAway) {
  CheckedImage image;
  const uint64_t l1 = image.l1_place(0);
  image.put_snapshots({test::snapshot_at(image, l1)});
  test::repair(image.file());
  EXPECT_NE(image.l1_place(0), l1);
  EXPECT_EQ(image.word(image.l1_place(0)) & ~kCopied, image.word(l1) & ~kCopied);
}

TEST(Repairer, FixesAreReportedBeforeTheLastCheck) {
  CheckedImage image;
  image.append({1});
  RepairOptions options;
  std::vector<std::string> told;
  options.check.on_finding = [&](const Finding& each) {
    told.push_back(problem_of(each).message());
  };
  options.on_fixed = [&](uint64_t leaks, uint64_t corruptions) {
    told.push_back(fmt::format("fixed {} {}", leaks, corruptions));
  };
  sync_wait(test::repair_on(&image.file(), std::move(options)));
  EXPECT_EQ(told.back(), "fixed 1 0");
}

TEST(Repairer, ACancelledRepairStopsAndCanBeDoneAgain) {
  CheckedImage image;
  image.set_refcount(image.data_offset(0), 0);
  Cancellation cancellation;
  RepairOptions options;
  options.check.cancellation = &cancellation;
  options.check.on_finding = [&](const Finding&) { cancellation.request(); };
  const GuestView before = view(image);
  EXPECT_THROW(sync_wait(test::repair_on(&image.file(), std::move(options))), Error);
  test::expect_nothing_lost(before, view(image));
  EXPECT_TRUE(test::repair(image.file()).result.is_clean());
  EXPECT_THAT(image.check().texts(), IsEmpty());
}

TEST(Repairer, ASnapshotWithoutAnL1TableKeepsPossibleClusters) {
  for (const RepairScope scope : {RepairScope::kLeaks, RepairScope::kAll}) {
    for (const uint64_t l1 : {uint64_t{0}, uint64_t{1} << 40}) {
      CheckedImage image;
      layout::Snapshot snapshot = test::snapshot_at(image, l1);
      if (l1 == 0) snapshot = layout::Snapshot{};
      image.put_snapshots({snapshot});
      image.set_refcount(image.data_offset(0), 2);
      const std::vector<uint8_t> block = image.file().get(image.block(), 4096);
      const CheckResult before = image.check().result;
      const Repaired repaired = test::repair(image.file(), scope);
      EXPECT_LE(repaired.result.check.corruptions, before.corruptions);
      EXPECT_EQ(repaired.result.leaks_fixed, 0u);
      const std::vector<uint8_t> after = image.file().get(image.block(), 4096);
      EXPECT_EQ(layout::load_refcount(after, image.cluster_of(image.data_offset(0)), 4), 2u);
    }
  }
}

TEST(Repairer, OtherSnapshotsStayWhenOneIsRemoved) {
  CheckedImage image;
  const uint64_t l1 = image.append(std::vector<uint8_t>(8));
  layout::Snapshot lost = test::snapshot_at(image, uint64_t{1} << 40);
  lost.name = "lost";
  image.put_snapshots({lost, test::snapshot_at(image, l1)});
  const Repaired repaired = test::repair(image.file(), RepairScope::kAll, true);
  EXPECT_TRUE(repaired.result.is_clean());
  EXPECT_THAT(repaired.texts(), Contains("Removing snapshot 1 (lost): its L1 table is past the end "
                                         "of the file"));
  const auto opened = sync_wait(Image::open(image.file().clone(), OpenOptions{}));
  ASSERT_EQ(opened->snapshots().size(), 1u);
  EXPECT_EQ(opened->snapshots()[0].name, "s");
  sync_wait(opened->close());
}

TEST(Repairer, OtherBitmapsStayWhenOneIsRemoved) {
  for (const char* const name :
       {"BitmapTableOnL1", "BitmapEntryZero", "FirstBitmapUnaligned", "BitmapTableOutside"}) {
    CheckedImage image;
    const std::vector<Damage> all = test::damages();
    std::ranges::find(all, name, &Damage::name)->apply(image);
    const Repaired repaired = test::repair(image.file());
    EXPECT_THAT(repaired.texts(), Contains(testing::StartsWith("Removing bitmap")));
    const auto opened = sync_wait(Image::open(image.file().clone(), OpenOptions{}));
    std::vector<std::string> names;
    for (const layout::BitmapEntry& each : opened->bitmaps()) names.push_back(each.name);
    const bool is_first = std::string(name) == "FirstBitmapUnaligned";
    if (std::string(name) == "BitmapTableOutside") {
      EXPECT_THAT(names, IsEmpty());
      EXPECT_THAT(repaired.texts(), Contains("Removing bitmap 'a'"));
    } else {
      EXPECT_THAT(names, ElementsAre(is_first ? "bb" : "a", "ccc"));
    }
    sync_wait(opened->close());
  }
}

TEST(Repairer, SnapshotsWithExtraDataOfAnImpossibleSizeAreKept) {
  CheckedImage image;
  const std::vector<Damage> all = test::damages();
  std::ranges::find(all, "SnapshotExtraDataTooLong", &Damage::name)->apply(image);
  EXPECT_TRUE(test::repair(image.file()).result.is_clean());
  const auto opened = sync_wait(Image::open(image.file().clone(), OpenOptions{}));
  ASSERT_EQ(opened->snapshots().size(), 2u);
  EXPECT_EQ(opened->snapshots()[0].name, "s");
  sync_wait(opened->close());
}

}  // namespace
}  // namespace byre::qcow2
