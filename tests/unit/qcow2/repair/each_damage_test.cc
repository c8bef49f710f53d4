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

class EachDamage : public testing::TestWithParam<Damage> {};

TEST_P(EachDamage, IsRepairedAndNothingIsLost) {
  CheckedImage image;
  GetParam().apply(image);
  const GuestView before = view(image);
  const Repaired repaired = test::repair(image.file(), GetParam());
  test::expect_nothing_lost(before, view(image));
  const test::Checked checked = image.check();
  EXPECT_EQ(checked.result.corruptions, repaired.result.check.corruptions);
  EXPECT_EQ(checked.result.leaks, repaired.result.check.leaks);
  EXPECT_EQ(checked.result.check_errors, 0u);
  if (GetParam().can_be_repaired) {
    EXPECT_THAT(checked.texts(), IsEmpty());
    EXPECT_TRUE(repaired.result.is_clean());
    EXPECT_EQ(image.header().incompatible_features, 0u);
  } else {
    EXPECT_GT(checked.result.corruptions, 0u);
  }
  // A second repair finds nothing to do.
  const std::vector<uint8_t> bytes = image.file().get(0, image.file().size());
  const Repaired again = test::repair(image.file(), GetParam());
  EXPECT_EQ(again.result.corruptions_fixed + again.result.leaks_fixed, 0u);
  EXPECT_EQ(image.file().get(0, image.file().size()), bytes);
}

// An earlier writer may have been killed, so that what was read is not on disk yet.
TEST_P(EachDamage, WhatWasReadIsDurableBeforeAnythingIsWritten) {
  CheckedImage image;
  GetParam().apply(image);
  faults::FaultDevice file(image.file().clone());
  test::repair(file);
  for (const faults::FaultEvent& event : file.events()) {
    if (event.operation == faults::Operation::kFlush) return;
    EXPECT_NE(event.operation, faults::Operation::kWrite);
    EXPECT_NE(event.operation, faults::Operation::kWriteZeroes);
    EXPECT_NE(event.operation, faults::Operation::kResize);
  }
}

TEST_P(EachDamage, CanBeWrittenOverAfterTheRepair) {
  if (!GetParam().can_be_repaired) return;
  CheckedImage image;
  GetParam().apply(image);
  test::repair(image.file(), GetParam());
  OpenOptions options;
  options.writable = true;
  storage::MemoryDevice* file = nullptr;
  auto clone = image.file().clone();
  file = clone.get();
  const std::unique_ptr<Image> opened = sync_wait(Image::open(std::move(clone), options));
  std::vector<uint8_t> bytes = byre::test::pattern(0, opened->size(), 9);
  sync_wait(opened->write(0, WriteBuffers(Bytes(bytes))));
  sync_wait(opened->flush());
  std::unique_ptr<storage::MemoryDevice> written = file->clone();
  const GuestView after = sync_wait(test::view_guest(written->clone()));
  for (size_t i = 0; i < after.size(); ++i) ASSERT_TRUE(after[i]) << i;
  EXPECT_THAT(image.check_on(*written).result.corruptions, 0u);
  sync_wait(opened->close());
}

// Every write of every repair fails once, for lack of space and with an I/O error.
TEST_P(EachDamage, AFailedWriteIsReportedAndLosesNothing) {
  for (const int number : {EIO, ENOSPC}) {
    bool failed = true;
    for (uint64_t write = 1; failed; ++write) {
      CheckedImage image;
      GetParam().apply(image);
      const GuestView before = view(image);
      auto clone = image.file().clone();
      storage::MemoryDevice* const memory = clone.get();
      faults::FaultDevice faults(std::move(clone));
      faults.add_rule({.operation = faults::Operation::kWrite,
                       .first = write,
                       .errno_value = number,
                       .written = faults::Written::kHalf});
      failed = false;
      try {
        test::repair(faults, GetParam());
      } catch (const Error& error) {
        failed = true;
        EXPECT_EQ(error.errno_value(), number);
      }
      test::expect_nothing_lost(before, sync_wait(test::view_guest(memory->clone())));
      faults.heal();
      EXPECT_EQ(test::repair(faults, GetParam()).result.is_clean(), GetParam().can_be_repaired);
      test::expect_nothing_lost(before, sync_wait(test::view_guest(memory->clone())));
      ASSERT_LT(write, 50u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Repairer, EachDamage, testing::ValuesIn(test::damages()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::qcow2
