// SPDX-License-Identifier: Apache-2.0
#include "jobs/create_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "async/loop.h"
#include "byre/error.h"
#include "open/open.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

class CreateJobTest : public testing::Test {
 protected:
  CreateJob task(const std::string& name, const std::string& format) const {
    CreateJob task;
    task.filename = folder_.file(name);
    task.format = format;
    return task;
  }
  CreateJob over(const std::string& backing, const std::string& backing_format) const {
    CreateJob task = this->task("over", "qcow2");
    task.backing_filename = backing;
    if (!backing_format.empty()) task.backing_format = backing_format;
    return task;
  }
  std::string make(const std::string& name, const std::string& format, uint64_t size) const {
    CreateJob image = task(name, format);
    image.size = size;
    sync_wait(create(image));
    return image.filename;
  }
  static std::string refusal(const CreateJob& task) {
    try {
      sync_wait(create(task));
    } catch (const Error& error) {
      return error.message();
    }
    return "created";
  }
  static Task<uint64_t> size_of(std::string filename) {
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(filename, open::ImageOptions{});
    const uint64_t size = image->size();
    co_await image->close();
    co_return size;
  }

  const test::TemporaryFolder folder_;
};

TEST_F(CreateJobTest, TheBackingImageGivesTheSizeIfThereIsNone) {
  make("base", "qcow2", 3 << 20);
  CreateJob image = over("base", "qcow2");
  EXPECT_EQ(refusal(image), "created");
  EXPECT_EQ(sync_wait(size_of(image.filename)), 3u << 20);
  image.size = 1 << 20;
  EXPECT_EQ(refusal(image), "created");
  EXPECT_EQ(sync_wait(size_of(image.filename)), 1u << 20);
}

TEST_F(CreateJobTest, ABackingFileNeedsAFormat) {
  make("base", "qcow2", 1 << 20);
  CreateJob image = over("base", "");
  EXPECT_THAT(refusal(image), testing::EndsWith("has no backing_fmt; it seems to be qcow2"));
  image.checks_backing = false;
  EXPECT_THAT(refusal(image), testing::EndsWith("has no backing_fmt"));
  EXPECT_FALSE(std::filesystem::exists(image.filename));
}

TEST_F(CreateJobTest, ABackingFileMayBeMissingIfItIsNotChecked) {
  CreateJob image = over("gone", "raw");
  EXPECT_EQ(refusal(image), "Could not open '" + folder_.file("gone") +
                                "': No such file or directory\nCould not open backing image.");
  image.checks_backing = false;
  EXPECT_EQ(refusal(image), "the new image has no size, and no backing file to take it from");
  image.size = 1 << 20;
  EXPECT_EQ(refusal(image), "created");
}

TEST_F(CreateJobTest, WhatTheBackingImageNeedsIsNotReplaced) {
  const auto expect_same = [](const CreateJob& task) {
    EXPECT_THAT(refusal(task), testing::HasSubstr("would be its own backing file"));
  };
  make("base", "qcow2", 1 << 20);
  EXPECT_EQ(refusal(over("base", "qcow2")), "created");
  CreateJob own = over(folder_.file("over"), "qcow2");
  expect_same(own);
  own.backing_filename = "./over";
  expect_same(own);
  own.checks_backing = false;
  own.size = 1 << 20;
  expect_same(own);
  CreateJob below = over("over", "qcow2");
  below.filename = folder_.file("base");
  expect_same(below);
  EXPECT_EQ(sync_wait(size_of(folder_.file("over"))), 1u << 20);
}

TEST_F(CreateJobTest, TheSizeIsGivenOnce) {
  CreateJob image = task("image", "raw");
  EXPECT_EQ(refusal(image), "the new image has no size, and no backing file to take it from");
  image.size = UINT64_MAX;
  EXPECT_EQ(refusal(image), "the new image has no size, and no backing file to take it from");
  image.options = {{"size", "1M"}};
  EXPECT_EQ(refusal(image), "the size is given both as an argument and as the option 'size'");
  image.size.reset();
  EXPECT_EQ(refusal(image), "created");
}

TEST_F(CreateJobTest, ARawImageHasNoBackingFile) {
  CreateJob image = task("image", "raw");
  image.backing_filename = "base";
  EXPECT_EQ(refusal(image), "Backing file not supported for file format 'raw'");
  image.backing_filename.reset();
  image.backing_format = "raw";
  EXPECT_EQ(refusal(image), "Backing file format not supported for file format 'raw'");
}

TEST_F(CreateJobTest, TheOptionsAreToldBeforeAFileIsTouched) {
  make("base", "raw", 2 << 20);
  CreateJob image = over("base", "raw");
  bool is_told = false;
  image.on_options = [&](const open::CreationOptions& options) {
    is_told = true;
    EXPECT_EQ(options.size(), 2u << 20);
    EXPECT_EQ(options.get("backing_file"), "base");
    EXPECT_FALSE(std::filesystem::exists(image.filename));
  };
  EXPECT_EQ(refusal(image), "created");
  EXPECT_TRUE(is_told);
}

}  // namespace
}  // namespace byre::jobs
