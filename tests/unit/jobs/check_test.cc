// SPDX-License-Identifier: Apache-2.0
#include "jobs/check.h"

#include <gtest/gtest.h>

#include "jobs/create.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

class CheckJobTest : public testing::Test {
 protected:
  std::string make(const std::string& name, const std::string& format) {
    NewImage image{folder_.file(name), open::CreationOptions(format)};
    image.options.set_size(1 << 20);
    Loop loop;
    loop.run(create_image(std::move(image)));
    return folder_.file(name);
  }
  CheckReport run(const std::string& filename) {
    CheckJob job;
    job.filename = filename;
    job.options.on_finding = [this](const Finding& each) {
      texts_.push_back(problem_of(each).message());
    };
    Loop loop;
    return loop.run(check(std::move(job)));
  }

  test::TemporaryFolder folder_;
  std::vector<std::string> texts_;
};

TEST_F(CheckJobTest, ANewImageIsSound) {
  const CheckReport report = run(make("new.qcow2", "qcow2"));
  EXPECT_EQ(report.format, "qcow2");
  ASSERT_TRUE(report.result.has_value());
  EXPECT_EQ(report.result->corruptions + report.result->leaks + report.result->check_errors, 0u);
  EXPECT_EQ(report.result->image_end_offset, 262144u);
  EXPECT_EQ(report.result->clusters.total, 16u);
}

TEST_F(CheckJobTest, ARawImageHasNothingToCheck) {
  const CheckReport report = run(make("new.raw", "raw"));
  EXPECT_EQ(report.format, "raw");
  EXPECT_FALSE(report.result.has_value());
}

TEST_F(CheckJobTest, WhatEndsACheckIsToldAfterTheFindingThatSaysWhy) {
  const std::string name = make("bad.qcow2", "qcow2");
  std::vector<uint8_t> bytes = folder_.contents("bad.qcow2");
  bytes[63] = 1;    // nb_snapshots
  bytes[71] = 0x3;  // snapshots_offset
  folder_.make("bad.qcow2", bytes);
  try {
    run(name);
    FAIL() << "the check came to its end";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(),
              "Check failed: snapshots_offset is 0x3, not a multiple of the cluster size 65536");
    EXPECT_EQ(error.data().code, "qcow2-check-ended");
    EXPECT_EQ(error.errno_value(), EINVAL);
  }
  ASSERT_EQ(texts_.size(), 1u);
  EXPECT_TRUE(texts_[0].starts_with("the snapshot table cannot be found: ")) << texts_[0];
}

TEST_F(CheckJobTest, ProgressEndsWhereAllIsDone) {
  struct Recorder : Progress {
    void update(uint64_t done, uint64_t total) override {
      EXPECT_LE(done, total);
      last_done = done;
      last_total = total;
    }
    uint64_t last_done = 0;
    uint64_t last_total = 1;
  } recorder;
  CheckJob job;
  job.filename = make("new.qcow2", "qcow2");
  job.progress = &recorder;
  Loop loop;
  loop.run(check(std::move(job)));
  EXPECT_EQ(recorder.last_done, recorder.last_total);
}

}  // namespace
}  // namespace byre::jobs
