// SPDX-License-Identifier: Apache-2.0
#include "jobs/dd_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "async/loop.h"
#include "byre/error.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

class DdImages : public testing::Test {
 protected:
  DdImages() { folder_.make("input", test::pattern(0, 8192, 1)); }

  DdJob task() const {
    DdJob task;
    task.input = folder_.file("input");
    task.input_format = "raw";
    task.output = folder_.file("output");
    return task;
  }
  static std::string refusal(const DdJob& task) {
    try {
      sync_wait(dd_images(task));
    } catch (const Error& error) {
      return error.message();
    }
    return "copied";
  }
  bool exists(const std::string& name) const { return std::filesystem::exists(folder_.file(name)); }

  const test::TemporaryFolder folder_;
};

TEST_F(DdImages, TheOutputIsTheRangeOfTheInput) {
  DdJob part = task();
  part.range.skip = 2;
  part.range.count = 6;
  EXPECT_EQ(refusal(part), "copied");
  EXPECT_EQ(folder_.contents("output"), test::pattern(1024, 2048, 1));
}

TEST_F(DdImages, ARangePastTheEndGivesAnEmptyImage) {
  DdJob past = task();
  past.range.skip = 100;
  bool is_told = false;
  past.on_cannot_skip = [&is_told] { is_told = true; };
  EXPECT_EQ(refusal(past), "copied");
  EXPECT_TRUE(is_told);
  EXPECT_TRUE(folder_.contents("output").empty());
}

TEST_F(DdImages, AFailureRemovesTheNewFile) {
  Cancellation cancelled;
  cancelled.request();
  DdJob stopped = task();
  stopped.cancellation = &cancelled;
  EXPECT_NE(refusal(stopped), "copied");
  EXPECT_FALSE(exists("output"));
  DdJob unknown = task();
  unknown.output_format = "foo";
  EXPECT_THAT(refusal(unknown), testing::StartsWith("Unknown file format '"));
  EXPECT_FALSE(exists("output"));
}

TEST_F(DdImages, TheInputIsNoOutput) {
  DdJob onto_itself = task();
  onto_itself.output = onto_itself.input;
  EXPECT_NE(refusal(onto_itself), "copied");
  onto_itself.force_share = true;
  EXPECT_EQ(refusal(onto_itself),
            onto_itself.output + ": error while creating output image: Cannot write to '" +
                onto_itself.output + "': the data to be copied is read from the same file");
  EXPECT_EQ(folder_.contents("input"), test::pattern(0, 8192, 1));
}

}  // namespace
}  // namespace byre::jobs
