// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert_snapshots.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/check.h"
#include "jobs/convert_images.h"
#include "jobs/create_job.h"
#include "jobs/snapshots.h"
#include "jobs/state_difference.h"
#include "jobs/vm_state.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

constexpr uint64_t kSize = kMiB;

class Recorder final : public Progress {
 public:
  void update(uint64_t done, uint64_t total) override { steps.emplace_back(done, total); }
  std::vector<std::pair<uint64_t, uint64_t>> steps;
};

class ConvertSnapshots : public testing::Test {
 protected:
  void create(const std::string& name, std::vector<std::pair<std::string, std::string>> options) {
    CreateJob creation;
    creation.filename = folder_.file(name);
    creation.format = "qcow2";
    creation.size = kSize;
    creation.options = std::move(options);
    sync_wait(jobs::create(creation));
  }
  static Task<void> write(std::string filename, uint64_t offset, std::vector<uint8_t> bytes,
                          bool is_vm_state) {
    open::ImageOptions options;
    options.writable = true;
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(std::move(filename), options);
    const WriteBuffers from((ConstBytes(bytes)));
    if (is_vm_state) {
      co_await write_vm_state(*image, offset, from);
    } else {
      co_await image->write(offset, from);
    }
    co_await image->close();
  }
  void put(uint64_t offset, std::vector<uint8_t> bytes) {
    sync_wait(write(folder_.file("source"), offset, std::move(bytes), false));
  }
  void snapshot(const std::string& name) {
    sync_wait(create_snapshots({{folder_.file("source"), {}}}, name));
  }
  void apply(const std::string& name) {
    sync_wait(apply_snapshot({folder_.file("source"), {}}, name));
  }
  // Three snapshots, of which the third begins as the first again.
  void make_history(std::vector<std::pair<std::string, std::string>> options = {}) {
    create("source", std::move(options));
    put(0, test::pattern(0, 700 * kKiB, 1));
    snapshot("one");
    put(0, test::pattern(0, 300 * kKiB, 2));
    snapshot("two");
    apply("one");
    put(512 * kKiB, test::pattern(0, 64 * kKiB, 3));
    snapshot("three");
    put(900 * kKiB, test::pattern(0, 4 * kKiB, 4));
  }
  static Task<std::vector<uint8_t>> read(std::string filename, std::string name) {
    open::ImageOptions options;
    if (!name.empty()) options.snapshot = open::SnapshotSelector{.name = std::move(name)};
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(std::move(filename), options);
    std::vector<uint8_t> bytes(image->size());
    const ReadBuffers to((Bytes(bytes)));
    co_await image->read(0, to);
    co_await image->close();
    co_return bytes;
  }
  std::vector<uint8_t> contents(const std::string& file, const std::string& name) {
    return sync_wait(read(folder_.file(file), name));
  }
  std::vector<std::string> snapshots_of(const std::string& file) {
    std::vector<std::string> found;
    for (const SnapshotUse& use :
         sync_wait(list_snapshots(folder_.file(file), {}, SnapshotDetails::kPlain))) {
      found.push_back(use.info.id + " " + use.info.name);
    }
    return found;
  }
  ConvertJob task() const {
    ConvertJob task;
    task.sources = {folder_.file("source")};
    task.source_format = "qcow2";
    task.target = folder_.file("target");
    task.target_format = "qcow2";
    task.with_snapshots = true;
    return task;
  }
  static std::string result(const ConvertJob& task) {
    try {
      sync_wait(convert_images(task));
    } catch (const Error& error) {
      return error.data().code.empty() ? error.message() : std::string(error.data().code.view());
    }
    return "converted";
  }
  void expect_equal() {
    EXPECT_EQ(snapshots_of("target"), snapshots_of("source"));
    for (const char* name : {"", "one", "two", "three"}) {
      EXPECT_EQ(contents("target", name), contents("source", name)) << name;
    }
  }

  const test::TemporaryFolder folder_;
};

TEST_F(ConvertSnapshots, EachSnapshotOfTheCopyIsEqualInAnyLayout) {
  using Options = std::vector<std::pair<std::string, std::string>>;
  const std::vector<Options> layouts{{},
                                     {{"cluster_size", "512"}},
                                     {{"cluster_size", "2M"}},
                                     {{"extended_l2", "on"}},
                                     {{"refcount_bits", "64"}},
                                     {{"compat", "0.10"}}};
  bool is_compressed = false;
  for (const Options& source : layouts) {
    make_history(source);
    is_compressed = !is_compressed;
    for (const Options& target : layouts) {
      ConvertJob copy = task();
      copy.target_options = target;
      is_compressed = !is_compressed;
      copy.copy.compressed = is_compressed;
      EXPECT_EQ(result(copy), "converted");
      expect_equal();
    }
  }
}

TEST_F(ConvertSnapshots, WhatIsSharedIsStoredOnce) {
  make_history();
  EXPECT_EQ(result(task()), "converted");
  EXPECT_LE(folder_.contents("target").size(), folder_.contents("source").size());
}

TEST_F(ConvertSnapshots, ProgressCoversAllStates) {
  make_history();
  Recorder recorder;
  ConvertJob copy = task();
  copy.progress = &recorder;
  EXPECT_EQ(result(copy), "converted");
  ASSERT_FALSE(recorder.steps.empty());
  uint64_t before = 0;
  for (const auto& [done, total] : recorder.steps) {
    EXPECT_GE(done, before);
    EXPECT_EQ(total, recorder.steps.back().second);
    before = done;
  }
  EXPECT_EQ(before, recorder.steps.back().second);
  // What the states share counts once.
  EXPECT_LT(before, 2 * kSize);
}

TEST_F(ConvertSnapshots, VmStatesAreCopied) {
  create("source", {});
  const std::vector<uint8_t> vm_state = test::pattern(0, 100 * kKiB, 5);
  sync_wait(write(folder_.file("source"), 0, vm_state, true));
  const auto make = [](std::string filename) -> Task<void> {
    open::ImageOptions options;
    options.writable = true;
    const std::unique_ptr<BlockDevice> image = co_await open::open_image(filename, options);
    qcow2::NewSnapshot snapshot;
    snapshot.name = "one";
    snapshot.vm_state_size = 100 * kKiB - 100;
    snapshot.vm_clock_nsec = 7;
    co_await open::as_qcow2(image.get())->create_snapshot(snapshot);
    co_await image->close();
  };
  sync_wait(make(folder_.file("source")));
  ConvertJob copy = task();
  copy.target_options = {{"cluster_size", "4k"}};
  EXPECT_EQ(result(copy), "converted");
  sync_wait(apply_snapshot({folder_.file("target"), {}}, "one"));
  const auto look = [](std::string filename) -> Task<std::vector<uint8_t>> {
    const open::ImageOptions options;
    const std::unique_ptr<BlockDevice> image = co_await open::open_image(filename, options);
    EXPECT_EQ(open::as_qcow2(image.get())->snapshots().front().vm_clock_nsec, 7u);
    std::vector<uint8_t> bytes(100 * kKiB - 100);
    const ReadBuffers to((Bytes(bytes)));
    co_await read_vm_state(*image, 0, to);
    co_await image->close();
    co_return bytes;
  };
  EXPECT_EQ(sync_wait(look(folder_.file("target"))),
            std::vector<uint8_t>(vm_state.begin(), vm_state.end() - 100));
}

TEST_F(ConvertSnapshots, ACancelledCopyLeavesNothing) {
  make_history();
  Cancellation cancellation;
  cancellation.request();
  ConvertJob copy = task();
  copy.cancellation = &cancellation;
  EXPECT_NE(result(copy), "converted");
  EXPECT_FALSE(std::filesystem::exists(folder_.file("target")));
}

TEST_F(ConvertSnapshots, WhatCannotHaveTheSnapshotsIsRefusedBeforeAnythingIsWritten) {
  make_history();
  const auto refusal = [&](const std::function<void(ConvertJob&)>& change) {
    ConvertJob copy = task();
    change(copy);
    const std::string code = result(copy);
    EXPECT_FALSE(std::filesystem::exists(folder_.file("target"))) << code;
    return code;
  };
  EXPECT_EQ(refusal([](ConvertJob& copy) { copy.target_format = "raw"; }),
            "convert-snapshots-to-format");
  EXPECT_EQ(refusal([](ConvertJob& copy) { copy.target_options = {{"data_file", "data"}}; }),
            "convert-snapshots-with-data-file");
  EXPECT_EQ(refusal([](ConvertJob& copy) { copy.target_options = {{"refcount_bits", "2"}}; }),
            "convert-snapshots-refcount-width");
  EXPECT_EQ(refusal([](ConvertJob& copy) { copy.create = false; }),
            "convert-snapshots-to-existing");
  EXPECT_EQ(refusal([](ConvertJob& copy) { copy.sources.push_back(copy.sources.front()); }),
            "convert-snapshots-of-several");
  EXPECT_EQ(refusal([](ConvertJob& copy) { copy.source_format = "raw"; }),
            "convert-snapshots-of-format");
  EXPECT_EQ(
      refusal([](ConvertJob& copy) { copy.snapshot = open::SnapshotSelector{.name = "one"}; }),
      "convert-snapshots-and-snapshot");
}

class StateDifferenceTest : public ConvertSnapshots {
 protected:
  using Kind = StateDifference::Piece::Kind;
  struct Row {
    uint64_t offset;
    uint64_t length;
    Kind kind;
    bool operator==(const Row&) const = default;
  };

  static Task<std::vector<Row>> pieces(std::string filename, size_t index, uint64_t cluster_size) {
    const std::unique_ptr<BlockDevice> image =
        co_await open::open_image(std::move(filename), open::ImageOptions());
    SourceStates states(image.get());
    co_await states.open();
    StateDifference difference(&states, index, {.cluster_size = cluster_size});
    std::vector<Row> rows;
    for (uint64_t at = 0; at < difference.size();) {
      const StateDifference::Piece piece = co_await difference.at(at);
      if (!rows.empty() && rows.back().kind == piece.kind) {
        rows.back().length += piece.length;
      } else {
        rows.push_back({at, piece.length, piece.kind});
      }
      at += piece.length;
    }
    co_await states.close();
    co_await image->close();
    co_return rows;
  }
};

TEST_F(StateDifferenceTest, OnlyWhatNoEarlierStateHasIsCopied) {
  make_history({{"cluster_size", "4k"}});
  const std::vector<Row> second = sync_wait(pieces(folder_.file("source"), 1, 4096));
  EXPECT_EQ(second, (std::vector<Row>{{0, 300 * kKiB, Kind::kCopied},
                                      {300 * kKiB, kSize - 300 * kKiB, Kind::kKept}}));
  const std::vector<Row> third = sync_wait(pieces(folder_.file("source"), 2, 4096));
  EXPECT_EQ(third, (std::vector<Row>{{0, 300 * kKiB, Kind::kShared},
                                     {300 * kKiB, 212 * kKiB, Kind::kKept},
                                     {512 * kKiB, 64 * kKiB, Kind::kCopied},
                                     {576 * kKiB, kSize - 576 * kKiB, Kind::kKept}}));
}

TEST_F(StateDifferenceTest, OnlyWholeClustersOfTheTargetAreShared) {
  make_history({{"cluster_size", "4k"}});
  const std::vector<Row> third = sync_wait(pieces(folder_.file("source"), 2, 128 * kKiB));
  EXPECT_EQ(third, (std::vector<Row>{{0, 384 * kKiB, Kind::kShared},
                                     {384 * kKiB, 128 * kKiB, Kind::kKept},
                                     {512 * kKiB, 64 * kKiB, Kind::kCopied},
                                     {576 * kKiB, kSize - 576 * kKiB, Kind::kKept}}));
}

}  // namespace
}  // namespace byre::jobs
