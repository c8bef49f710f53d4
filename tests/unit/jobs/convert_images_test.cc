// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "async/loop.h"
#include "byre/error.h"
#include "jobs/create_job.h"
#include "open/open.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

constexpr uint64_t kSize = 1 << 20;

class ConvertImages : public testing::Test {
 protected:
  ConvertImages() { folder_.make("source", test::pattern(0, kSize, 1)); }

  ConvertJob task(const std::string& format) const {
    ConvertJob task;
    task.sources = {folder_.file("source")};
    task.source_format = "raw";
    task.target = folder_.file("target");
    task.target_format = format;
    return task;
  }
  void create(const std::string& name, const std::string& format, uint64_t size,
              const std::optional<std::string>& backing = std::nullopt) const {
    CreateJob task;
    task.filename = folder_.file(name);
    task.format = format;
    task.size = size;
    task.backing_filename = backing;
    if (backing) task.backing_format = "qcow2";
    sync_wait(jobs::create(task));
  }
  static std::string refusal(const ConvertJob& task) {
    try {
      sync_wait(convert_images(task));
    } catch (const Error& error) {
      return error.message();
    }
    return "converted";
  }
  static Task<std::vector<uint8_t>> contents_of(std::string filename, std::string format) {
    open::ImageOptions options;
    options.format = format;
    const std::unique_ptr<BlockDevice> image = co_await open::open_image(filename, options);
    std::vector<uint8_t> bytes(image->size());
    const ReadBuffers to{Bytes(bytes)};
    co_await image->read(0, to);
    co_await image->close();
    co_return bytes;
  }
  static Task<void> write_at(std::string filename, uint64_t offset, std::vector<uint8_t> bytes) {
    open::ImageOptions options;
    options.format = "qcow2";
    options.writable = true;
    const std::unique_ptr<BlockDevice> image = co_await open::open_image(filename, options);
    const WriteBuffers from{ConstBytes(bytes)};
    co_await image->write(offset, from, WriteFlags::kNone);
    co_await image->close();
  }
  std::vector<uint8_t> target(const std::string& format) const {
    return sync_wait(contents_of(folder_.file("target"), format));
  }
  bool exists(const std::string& name) const { return std::filesystem::exists(folder_.file(name)); }

  const test::TemporaryFolder folder_;
};

TEST_F(ConvertImages, ANewImageHasTheContentsOfTheSource) {
  for (const char* format : {"raw", "qcow2"}) {
    EXPECT_EQ(refusal(task(format)), "converted");
    EXPECT_EQ(target(format), test::pattern(0, kSize, 1)) << format;
  }
}

TEST_F(ConvertImages, SourcesAreConcatenated) {
  ConvertJob two = task("raw");
  two.sources.push_back(folder_.make("second", test::pattern(0, 4096, 2)));
  EXPECT_EQ(refusal(two), "converted");
  const std::vector<uint8_t> bytes = target("raw");
  ASSERT_EQ(bytes.size(), kSize + 4096);
  EXPECT_EQ(std::vector<uint8_t>(bytes.end() - 4096, bytes.end()), test::pattern(0, 4096, 2));
  two.backing_filename = "base";
  two.target_format = "qcow2";
  EXPECT_THAT(refusal(two),
              testing::StartsWith("the target is to have a backing file, but there are 2 sources"));
}

TEST_F(ConvertImages, SourcesAndTargetMayBeListsOfOptions) {
  create("target", "qcow2", kSize);
  ConvertJob lists = task("qcow2");
  lists.source_format.reset();
  lists.target_format.reset();
  lists.sources = {"driver=raw,file.filename=" + folder_.file("source")};
  lists.sources_are_options = true;
  lists.target = "driver=qcow2,file.filename=" + lists.target;
  lists.target_is_options = true;
  lists.create = false;
  EXPECT_EQ(refusal(lists), "converted");
  EXPECT_EQ(target("qcow2"), test::pattern(0, kSize, 1));
  lists.source_format = "raw";
  EXPECT_EQ(refusal(lists), "--image-opts and --format are mutually exclusive");
}

TEST_F(ConvertImages, AFailureRemovesTheNewFile) {
  ConvertJob failing = task("qcow2");
  failing.copy.compressed = true;
  failing.target_options = {{"preallocation", "full"}};
  EXPECT_EQ(refusal(failing),
            "the target is to be compressed, and a compressed image cannot be preallocated");
  EXPECT_FALSE(exists("target"));
  failing.target_options = {{"cluster_size", "3"}};
  EXPECT_EQ(refusal(failing),
            failing.target +
                ": error while converting qcow2: cluster_size is 3, not a power of two "
                "from 512 to 2097152");
  EXPECT_FALSE(exists("target"));
  Cancellation cancelled;
  cancelled.request();
  ConvertJob stopped = task("qcow2");
  stopped.cancellation = &cancelled;
  EXPECT_NE(refusal(stopped), "converted");
  EXPECT_FALSE(exists("target"));
  folder_.make("target", {});
  EXPECT_NE(refusal(stopped), "converted");
  EXPECT_TRUE(exists("target"));
}

TEST_F(ConvertImages, AnExistingTargetMustBeLargeEnough) {
  ConvertJob into = task("qcow2");
  into.create = false;
  create("target", "qcow2", kSize - 512);
  EXPECT_THAT(refusal(into), testing::HasSubstr("': the target has "));
  EXPECT_TRUE(exists("target"));
  create("target", "qcow2", kSize + 512);
  EXPECT_EQ(refusal(into), "converted");
  EXPECT_EQ(target("qcow2").size(), kSize + 512);
}

TEST_F(ConvertImages, AnExistingTargetReadsAsZeroesOnlyIfTheCallerKnowsThat) {
  folder_.make("source", std::vector<uint8_t>(kSize, 0));
  const auto convert_into = [this](bool is_zero) {
    create("target", "qcow2", kSize);
    sync_wait(write_at(folder_.file("target"), 0, test::pattern(0, kSize, 3)));
    ConvertJob into = task("qcow2");
    into.create = false;
    into.target_is_zero = is_zero;
    EXPECT_EQ(refusal(into), "converted");
    return target("qcow2");
  };
  EXPECT_EQ(convert_into(false), std::vector<uint8_t>(kSize, 0));
  EXPECT_EQ(convert_into(true), test::pattern(0, kSize, 3));
  ConvertJob backed = task("qcow2");
  backed.create = false;
  backed.target_is_zero = true;
  backed.backing_filename = "base";
  EXPECT_EQ(refusal(backed),
            "'" + backed.target + "': the target is said to be zero, but it has a backing file");
}

TEST_F(ConvertImages, WithABackingFileOnlyTheTopmostLayerIsCopied) {
  create("base", "qcow2", kSize);
  sync_wait(write_at(folder_.file("base"), 0, test::pattern(0, kSize, 4)));
  create("top", "qcow2", kSize, "base");
  sync_wait(write_at(folder_.file("top"), 65536, test::pattern(0, 65536, 5)));
  ConvertJob layer = task("qcow2");
  layer.sources = {folder_.file("top")};
  layer.source_format = "qcow2";
  layer.target_options = {{"backing_file", "base"}};
  EXPECT_EQ(refusal(layer), "the target's backing file has no backing_fmt");
  layer.backing_format = "qcow2";
  EXPECT_EQ(refusal(layer), "converted");
  EXPECT_EQ(target("qcow2"), sync_wait(contents_of(folder_.file("top"), "qcow2")));
  EXPECT_LT(std::filesystem::file_size(folder_.file("target")), kSize / 2);
}

TEST_F(ConvertImages, AFileThatIsReadIsNoTarget) {
  ConvertJob onto_itself = task("raw");
  onto_itself.target = folder_.file("source");
  onto_itself.force_share = true;
  const std::string refused = "Cannot write to '" + onto_itself.target +
                              "': the data to be copied is read from the same file";
  EXPECT_EQ(refusal(onto_itself), refused);
  onto_itself.create = false;
  EXPECT_EQ(refusal(onto_itself), refused);
  ConvertJob data = task("qcow2");
  data.force_share = true;
  data.target_options = {{"data_file", folder_.file("source")}};
  EXPECT_EQ(refusal(data), refused);
  EXPECT_EQ(folder_.contents("source"), test::pattern(0, kSize, 1));
}

TEST_F(ConvertImages, TheImageIsNotItsOwnBackingFile) {
  create("base", "qcow2", kSize);
  create("target", "qcow2", kSize, "base");
  ConvertJob own = task("qcow2");
  own.target = folder_.file("base");
  own.backing_filename = "target";
  own.backing_format = "qcow2";
  EXPECT_EQ(refusal(own), "Could not open '" + own.target +
                              "': the backing file is the image itself, or depends on it");
  EXPECT_EQ(target("qcow2").size(), kSize);
}

TEST_F(ConvertImages, AnImageCanBeSentToAPipe) {
  folder_.make("source", test::pattern(0, 4096, 1));
  for (const char* format : {"raw", "qcow2"}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    ConvertJob piped = task(format);
    piped.copy.compressed = std::string(format) == "qcow2";
    piped.target_pipe = ends[1];
    // A pipe has space for 16 pages.
    piped.target_options.clear();
    if (piped.copy.compressed) piped.target_options = {{"cluster_size", "512"}};
    EXPECT_EQ(refusal(piped), "converted");
    close(ends[1]);
    std::vector<uint8_t> received;
    std::vector<uint8_t> part(65536);
    for (ssize_t count = 0; (count = read(ends[0], part.data(), part.size())) > 0;) {
      received.insert(received.end(), part.begin(), part.begin() + count);
    }
    close(ends[0]);
    folder_.make("target", received);
    EXPECT_EQ(target(format), test::pattern(0, 4096, 1)) << format;
    std::filesystem::remove(folder_.file("target"));
  }
}

TEST_F(ConvertImages, MistakesAreReportedInTheOrderOfTheSteps) {
  ConvertJob wrong = task("foo");
  wrong.source_cache = "x";
  wrong.sources.push_back(folder_.file("gone"));
  wrong.snapshot.emplace().id_or_name = "1";
  wrong.target_cache = "y";
  EXPECT_THAT(refusal(wrong), testing::StartsWith("the source cache mode is 'x', "));
  wrong.source_cache = "writeback";
  EXPECT_THAT(refusal(wrong), testing::HasSubstr("gone': No such file or directory"));
  wrong.sources[1] = wrong.sources[0];
  EXPECT_THAT(refusal(wrong),
              testing::StartsWith("a snapshot is to be converted, but there are 2 sources"));
  wrong.snapshot.reset();
  EXPECT_EQ(refusal(wrong), "Unknown file format 'foo'");
  wrong.target_format = "raw";
  EXPECT_THAT(refusal(wrong), testing::StartsWith("the cache mode is 'y', "));
  EXPECT_FALSE(exists("target"));
}

}  // namespace
}  // namespace byre::jobs
