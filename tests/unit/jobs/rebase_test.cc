// SPDX-License-Identifier: Apache-2.0
#include "jobs/rebase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
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

class RebaseTest : public testing::Test {
 protected:
  RebaseTest() {
    folder_.make("base", test::pattern(0, kSize, 1));
    folder_.make("other", test::pattern(0, kSize, 5));
    overlay("middle", "base", "raw");
    overlay("top", "middle", "qcow2");
    put("middle", 64 * kKiB, test::pattern(0, 128 * kKiB, 2));
    put("top", 256 * kKiB, test::pattern(0, 100 * kKiB, 3));
    before_ = contents("top");
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
  static Task<std::pair<std::string, uint64_t>> look(std::string filename) {
    open::ImageOptions options;
    options.no_backing = true;
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(std::move(filename), options);
    std::pair<std::string, uint64_t> found{open::as_qcow2(image.get())->backing_filename(), 0};
    const auto extents = co_await image->extents(0, image->size(), ExtentScope::kLayer);
    for (const Extent& extent : extents) found.second += extent.present ? extent.length : 0;
    co_await image->close();
    co_return found;
  }
  void put(const std::string& name, uint64_t offset, std::vector<uint8_t> bytes) {
    sync_wait(write(folder_.file(name), offset, std::move(bytes)));
  }
  std::vector<uint8_t> contents(const std::string& name) {
    return sync_wait(read(folder_.file(name)));
  }
  std::string backing(const std::string& name = "top") {
    return sync_wait(look(folder_.file(name))).first;
  }
  // Bytes that the image has itself.
  uint64_t present(const std::string& name = "top") {
    return sync_wait(look(folder_.file(name))).second;
  }
  RebaseJob job(const std::string& backing, const std::string& format = "raw") const {
    RebaseJob job;
    job.filename = folder_.file("top");
    job.backing = backing.empty() ? "" : folder_.file(backing);
    if (!backing.empty()) job.backing_format = format;
    return job;
  }
  static std::string result(RebaseJob job) {
    try {
      sync_wait(rebase(std::move(job)));
    } catch (const Error& error) {
      return error.data().code.empty() ? error.message() : std::string(error.data().code.view());
    }
    return "rebased";
  }

  const test::TemporaryFolder folder_;
  std::vector<uint8_t> before_;
};

TEST_F(RebaseTest, WithoutABackingFileTheImageHasEverything) {
  EXPECT_EQ(result(job("")), "rebased");
  EXPECT_EQ(backing(), "");
  EXPECT_EQ(contents("top"), before_);
  EXPECT_EQ(present(), kSize);
}

TEST_F(RebaseTest, FurtherDownTheChainOnlyWhatIsBetweenIsCopied) {
  EXPECT_EQ(result(job("base")), "rebased");
  EXPECT_EQ(backing(), folder_.file("base"));
  EXPECT_EQ(contents("top"), before_);
  EXPECT_EQ(present(), (128 + 128) * kKiB);
}

TEST_F(RebaseTest, OutsideTheChainWhatDiffersIsCopied) {
  std::vector<uint8_t> other = before_;
  std::fill_n(other.begin() + 700 * static_cast<ptrdiff_t>(kKiB), 10, uint8_t{0x77});
  folder_.make("similar", other);
  EXPECT_EQ(result(job("similar")), "rebased");
  EXPECT_EQ(contents("top"), before_);
  EXPECT_EQ(present(), (128 + 64) * kKiB);
}

TEST_F(RebaseTest, AShorterBackingFileEndsInZeroes) {
  folder_.make("short", test::pattern(0, 100'000, 1));
  EXPECT_EQ(result(job("short")), "rebased");
  EXPECT_EQ(contents("top"), before_);
}

TEST_F(RebaseTest, WhereBothReadAsZeroesNothingIsWritten) {
  folder_.make("zeroes", std::vector<uint8_t>(kSize));
  overlay("top", "zeroes", "raw");
  EXPECT_EQ(result(job("")), "rebased");
  EXPECT_EQ(present(), 0u);
  EXPECT_EQ(result(job("other")), "rebased");
  EXPECT_EQ(contents("top"), std::vector<uint8_t>(kSize));
  EXPECT_EQ(result(job("zeroes")), "rebased");
  EXPECT_EQ(contents("top"), std::vector<uint8_t>(kSize));
}

// A request for zeroes would leave them unallocated.
TEST_F(RebaseTest, Version2KeepsItsZeroes) {
  CreateJob creation;
  creation.filename = folder_.file("top");
  creation.format = "qcow2";
  creation.options = {{"compat", "0.10"}};
  creation.size = kSize;
  sync_wait(create(creation));
  EXPECT_EQ(result(job("other")), "rebased");
  EXPECT_EQ(contents("top"), std::vector<uint8_t>(kSize));
  folder_.make("zeroes", std::vector<uint8_t>(kSize));
  creation.options = {
      {"compat", "0.10"}, {"backing_file", folder_.file("zeroes")}, {"backing_fmt", "raw"}};
  sync_wait(create(creation));
  EXPECT_EQ(result(job("other")), "rebased");
  EXPECT_EQ(contents("top"), std::vector<uint8_t>(kSize));
}

// Under another name, so that only device and inode tell; and it cannot be read.
TEST_F(RebaseTest, WhatBothTakeFromTheSameFileIsNotRead) {
  overlay("sibling", "base", "raw");
  std::filesystem::create_symlink(folder_.file("base"), folder_.file("link"));
  overlay("top", "link", "raw");
  put("top", 0, test::pattern(0, 64 * kKiB, 3));
  RebaseJob onto = job("sibling", "qcow2");
  struct Watch : Progress {
    void update(uint64_t, uint64_t of) override { total = of; }
    uint64_t total = 1;
  } watch;
  onto.progress = &watch;
  EXPECT_EQ(result(onto), "rebased");
  EXPECT_EQ(watch.total, 0u);
  EXPECT_EQ(present(), 64 * kKiB);
}

TEST_F(RebaseTest, WhatIsCopiedIsCompressedOnRequest) {
  RebaseJob compressed = job("");
  compressed.compressed = true;
  EXPECT_EQ(result(compressed), "rebased");
  EXPECT_EQ(contents("top"), before_);
}

TEST_F(RebaseTest, InTheUnsafeModeOnlyTheNameChanges) {
  RebaseJob renamed = job("nosuch");
  renamed.is_unsafe = true;
  EXPECT_EQ(result(renamed), "rebased");
  EXPECT_EQ(backing(), folder_.file("nosuch"));
  EXPECT_EQ(present(), 128 * kKiB);
  std::filesystem::remove(folder_.file("middle"));
  renamed.backing.reset();
  EXPECT_EQ(result(renamed), "rebased");
  EXPECT_EQ(backing(), "");
}

TEST_F(RebaseTest, StoppedItLosesNothingAndCanBeRunAgain) {
  Cancellation cancelled;
  cancelled.request();
  RebaseJob stopped = job("other");
  stopped.cancellation = &cancelled;
  EXPECT_NE(result(stopped), "rebased");
  EXPECT_EQ(backing(), folder_.file("middle"));
  EXPECT_EQ(contents("top"), before_);
  EXPECT_EQ(result(job("other")), "rebased");
  EXPECT_EQ(contents("top"), before_);
}

TEST_F(RebaseTest, WhatIsWrongIsFoundBeforeAnythingIsCopied) {
  const std::vector<uint8_t> bytes = folder_.contents("top");
  RebaseJob wrong = job("other");
  wrong.backing_format.reset();
  EXPECT_EQ(result(wrong), "rebase-format-missing");
  EXPECT_EQ(result(job("other", "nosuch")), "rebase-format-unknown");
  EXPECT_EQ(result(job("top", "raw")), "rebase-onto-itself");
  std::filesystem::create_symlink(folder_.file("top"), folder_.file("link"));
  EXPECT_EQ(result(job("link", "raw")), "rebase-onto-itself");
  overlay("above", "top", "qcow2");
  RebaseJob loop = job("above", "qcow2");
  loop.backing_image.force_share = true;
  EXPECT_EQ(result(loop), "rebase-onto-itself");
  RebaseJob long_name = job("other");
  long_name.is_unsafe = true;
  long_name.backing = std::string(1024, 'n');
  EXPECT_EQ(result(long_name), "rebase-name-refused");
  RebaseJob raw = job("other");
  raw.filename = folder_.file("base");
  raw.image.format = "raw";
  EXPECT_EQ(result(raw), "rebase-name-refused");
  raw.compressed = true;
  EXPECT_EQ(result(raw), "convert-not-compressible");
  EXPECT_EQ(folder_.contents("top"), bytes);
}

TEST_F(RebaseTest, NamesTheSnapshotsThatMayChange) {
  sync_wait(create_snapshots({{folder_.file("top"), {}}}, "one"));
  put("top", 0, test::pattern(0, kSize, 4));
  sync_wait(create_snapshots({{folder_.file("top"), {}}}, "whole"));
  std::vector<std::string> names;
  RebaseJob told = job("other");
  told.on_changed_snapshots = [&names](const std::vector<std::string>& found) { names = found; };
  EXPECT_EQ(result(told), "rebased");
  EXPECT_EQ(names, std::vector<std::string>{"one"});
}

}  // namespace
}  // namespace byre::jobs
