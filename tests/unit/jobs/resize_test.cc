// SPDX-License-Identifier: Apache-2.0
#include "jobs/resize.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "async/loop.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/create_job.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

using Kind = SizeChange::Kind;

class ResizeImage : public testing::Test {
 protected:
  ResizeImage() { folder_.make("disk", test::pattern(0, kDiskSize, 1)); }

  ResizeJob task(SizeChange change) const {
    ResizeJob task;
    task.filename = folder_.file("disk");
    task.image.format = "raw";
    task.change = change;
    return task;
  }
  static std::string result(const ResizeJob& task) {
    try {
      sync_wait(resize(task));
    } catch (const Error& error) {
      return error.message();
    }
    return "resized";
  }
  uint64_t size(const std::string& name) const {
    return std::filesystem::file_size(folder_.file(name));
  }
  ResizeJob image_task(SizeChange change) const {
    ResizeJob changed = task(change);
    changed.filename = folder_.file("image");
    changed.image.format = "qcow2";
    return changed;
  }
  void create_image(std::vector<std::pair<std::string, std::string>> options = {}) const {
    CreateJob creation;
    creation.filename = folder_.file("image");
    creation.format = "qcow2";
    creation.options = std::move(options);
    creation.size = kMiB;
    sync_wait(create(creation));
  }

  static constexpr uint64_t kDiskSize = 8192;
  const test::TemporaryFolder folder_;
};

TEST_F(ResizeImage, ASizeIsAbsoluteOrADifference) {
  EXPECT_EQ(result(task({Kind::kTo, 12288})), "resized");
  EXPECT_EQ(size("disk"), 12288u);
  EXPECT_EQ(result(task({Kind::kGrow, 4096})), "resized");
  EXPECT_EQ(size("disk"), 16384u);
  ResizeJob smaller = task({Kind::kShrink, 8192});
  smaller.may_shrink = true;
  EXPECT_EQ(result(smaller), "resized");
  EXPECT_EQ(folder_.contents("disk"), test::pattern(0, kDiskSize, 1));
}

TEST_F(ResizeImage, ADiskShrinksOnlyIfItMay) {
  try {
    sync_wait(resize(task({Kind::kTo, 4096})));
    FAIL() << "it has shrunk";
  } catch (const Error& error) {
    EXPECT_EQ(error.data().code, kShrinkNotAllowed);
  }
  EXPECT_EQ(size("disk"), kDiskSize);
}

TEST_F(ResizeImage, ANewSizeIsAboveZeroAndWithinFileOffsets) {
  for (const SizeChange change :
       {SizeChange{Kind::kTo, 0}, SizeChange{Kind::kShrink, kDiskSize},
        SizeChange{Kind::kShrink, UINT64_MAX}, SizeChange{Kind::kGrow, UINT64_MAX},
        SizeChange{Kind::kGrow, INT64_MAX}, SizeChange{Kind::kTo, uint64_t{1} << 63}}) {
    ResizeJob wrong = task(change);
    wrong.may_shrink = true;
    EXPECT_EQ(result(wrong), "the new size would be 0, negative, or more than a file can have")
        << change.size;
  }
  EXPECT_EQ(size("disk"), kDiskSize);
}

TEST_F(ResizeImage, OnlyNewBytesArePreallocated) {
  for (const uint64_t new_size : {kDiskSize, kDiskSize / 2}) {
    ResizeJob smaller = task({Kind::kTo, new_size});
    smaller.may_shrink = true;
    smaller.preallocation = Preallocation::kFull;
    EXPECT_EQ(result(smaller), fmt::format("the new size is {}, not more than now, and "
                                           "preallocation is only for growing",
                                           new_size));
  }
  ResizeJob larger = task({Kind::kTo, 2 * kDiskSize});
  larger.preallocation = Preallocation::kFull;
  EXPECT_EQ(result(larger), "resized");
  EXPECT_EQ(size("disk"), 2 * kDiskSize);
}

TEST_F(ResizeImage, AFailureSaysWhatTheSizeIs) {
  create_image();
  try {
    sync_wait(resize(image_task({Kind::kTo, kMiB + 1})));
    FAIL() << "it was resized";
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "The size of the disk is 1048576 bytes, as before.");
  }
}

TEST_F(ResizeImage, ADataFileIsAsLongAsTheDisk) {
  create_image({{"data_file", folder_.file("data")}});
  EXPECT_EQ(result(image_task({Kind::kTo, 2 * kMiB})), "resized");
  EXPECT_EQ(size("data"), 2 * kMiB);
  ResizeJob smaller = image_task({Kind::kTo, 64 * kKiB});
  smaller.may_shrink = true;
  EXPECT_EQ(result(smaller), "resized");
  EXPECT_EQ(size("data"), 64 * kKiB);
  ResizeJob mapped = image_task({Kind::kTo, kMiB});
  mapped.preallocation = Preallocation::kMetadata;
  EXPECT_EQ(result(mapped), "resized");
  EXPECT_EQ(size("data"), kMiB);
}

}  // namespace
}  // namespace byre::jobs
