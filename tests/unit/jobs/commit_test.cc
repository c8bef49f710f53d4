// SPDX-License-Identifier: Apache-2.0
#include "jobs/commit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/create_job.h"
#include "jobs/snapshots.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

constexpr uint64_t kSize = kMiB;

class Commit : public testing::Test {
 protected:
  Commit() {
    folder_.make("base", test::pattern(0, kSize, 1));
    overlay("middle", "base", "raw");
    overlay("top", "middle", "qcow2");
    put("middle", 64 * kKiB, test::pattern(0, 128 * kKiB, 2));
    put("top", 128 * kKiB, test::pattern(0, 200 * kKiB, 3));
  }

  void overlay(const std::string& name, const std::string& backing, const std::string& format) {
    CreateJob creation;
    creation.filename = folder_.file(name);
    creation.format = "qcow2";
    creation.options = {{"backing_file", folder_.file(backing)}, {"backing_fmt", format}};
    sync_wait(create(creation));
  }
  static Task<void> write(std::string filename, uint64_t offset, std::vector<uint8_t> bytes) {
    open::ImageOptions options;
    options.writable = true;
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(std::move(filename), options);
    const WriteBuffers from((ConstBytes(bytes)));
    co_await image->write(offset, from);
    co_await image->close();
  }
  static Task<std::vector<uint8_t>> read(std::string filename) {
    const open::ImageOptions options;
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(std::move(filename), options);
    std::vector<uint8_t> bytes(image->size());
    const ReadBuffers to((Bytes(bytes)));
    co_await image->read(0, to);
    co_await image->close();
    co_return bytes;
  }
  void put(const std::string& name, uint64_t offset, std::vector<uint8_t> bytes) {
    sync_wait(write(folder_.file(name), offset, std::move(bytes)));
  }
  std::vector<uint8_t> contents(const std::string& name) {
    return sync_wait(read(folder_.file(name)));
  }
  CommitJob job(const std::string& name = "top") const {
    CommitJob job;
    job.filename = folder_.file(name);
    return job;
  }
  static std::string result(CommitJob job) {
    try {
      sync_wait(commit(std::move(job)));
    } catch (const Error& error) {
      return error.message();
    }
    return "committed";
  }
  uint64_t length(const std::string& name) { return folder_.contents(name).size(); }

  const test::TemporaryFolder folder_;
};

TEST_F(Commit, TheBackingFileGetsTheChangesAndTheImageIsEmptied) {
  const std::vector<uint8_t> before = contents("top");
  const uint64_t used = length("top");
  EXPECT_EQ(result(job()), "committed");
  EXPECT_EQ(contents("top"), before);
  EXPECT_EQ(contents("middle"), before);
  EXPECT_LT(length("top"), used);
  EXPECT_EQ(folder_.contents("base"), test::pattern(0, kSize, 1));
}

TEST_F(Commit, AnImageFurtherDownGetsTheChangesOfAllAbove) {
  const std::vector<uint8_t> before = contents("top");
  const uint64_t used = length("top");
  CommitJob deep = job();
  deep.base = folder_.file("base");
  EXPECT_EQ(result(deep), "committed");
  EXPECT_EQ(folder_.contents("base"), before);
  EXPECT_EQ(contents("top"), before);
  EXPECT_EQ(length("top"), used);
}

TEST_F(Commit, WithoutEmptyingTheImageStaysAsItIs) {
  CommitJob kept = job();
  kept.empties = false;
  const std::vector<uint8_t> bytes = folder_.contents("top");
  EXPECT_EQ(result(kept), "committed");
  EXPECT_EQ(folder_.contents("top"), bytes);
}

TEST_F(Commit, ASnapshotOfTheImageKeepsItsContents) {
  const std::vector<uint8_t> before = contents("top");
  sync_wait(create_snapshots({{folder_.file("top"), {}}}, "one"));
  put("top", 0, test::pattern(0, 64 * kKiB, 4));
  EXPECT_EQ(result(job()), "committed");
  sync_wait(apply_snapshot({folder_.file("top"), {}}, "one"));
  const std::vector<uint8_t> applied = contents("top");
  // What the image did not have is now that of the backing file.
  EXPECT_TRUE(std::equal(before.begin() + 128 * kKiB, before.begin() + 328 * kKiB,
                         applied.begin() + 128 * kKiB));
}

TEST_F(Commit, StoppedItLosesNothingAndCanBeRunAgain) {
  const std::vector<uint8_t> before = contents("top");
  Cancellation cancelled;
  cancelled.request();
  CommitJob stopped = job();
  stopped.cancellation = &cancelled;
  EXPECT_NE(result(stopped), "committed");
  EXPECT_EQ(contents("top"), before);
  EXPECT_EQ(result(job()), "committed");
  EXPECT_EQ(contents("middle"), before);
}

TEST_F(Commit, RefusesWhatHasNoSuchBase) {
  CommitJob wrong = job();
  wrong.base = "nosuch";
  EXPECT_TRUE(result(wrong).ends_with("'nosuch' is not in the backing chain"));
  CommitJob alone = job("base");
  alone.image.format = "raw";
  EXPECT_EQ(result(alone), "the image has no backing file");
}

}  // namespace
}  // namespace byre::jobs
