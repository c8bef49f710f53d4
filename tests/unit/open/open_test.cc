// SPDX-License-Identifier: Apache-2.0
#include "open/open.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "async/loop.h"
#include "byre/error.h"
#include "unit/open/image_folder_test.h"

namespace byre::open {
namespace {

using byre::test::pattern;
using qcow2::test::ImageBuilder;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kCluster = 65536;

class OpenTest : public ImageFolderTest {
 protected:
  Contents read(const std::string& name, uint64_t offset, size_t length,
                ImageOptions options = {}) {
    Loop loop;
    auto device = loop.run(open_image(name, std::move(options)));
    Contents bytes(length, 0xee);
    loop.run(device->read(offset, Bytes(bytes)));
    loop.run(device->close());
    return bytes;
  }
  Error refusal(const std::string& name, ImageOptions options = {}) {
    try {
      sync_wait(open_image(name, std::move(options)));
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing was refused";
    return Error(ErrorKind::kIo, EIO, "nothing was refused");
  }

 private:
};

TEST_F(OpenTest, ProbesTheFormatOrTakesTheOneThatIsGiven) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  put("disk.qcow2", builder);
  folder_.make("disk.raw", pattern(0, 1000, 2));
  EXPECT_EQ(read("disk.qcow2", 0, kCluster), pattern(0, kCluster, 1));
  EXPECT_EQ(read("disk.qcow2", 0, kCluster, {.format = "qcow2"}), pattern(0, kCluster, 1));
  EXPECT_EQ(read("disk.qcow2", 0, 4, {.format = "raw"}), (Contents{'Q', 'F', 'I', 0xfb}));
  EXPECT_EQ(read("disk.raw", 0, 1000), pattern(0, 1000, 2));
  EXPECT_EQ(read("file:disk.raw", 0, 1000), pattern(0, 1000, 2));
}

TEST_F(OpenTest, ADashIsAFileUnlessTheCallerReadsPipes) {
  EXPECT_EQ(refusal("-").message(),
            "Could not open '-': Could not open '-': No such file or directory");
  folder_.make("-", pattern(0, 1000, 2));
  EXPECT_EQ(read("-", 0, 1000), pattern(0, 1000, 2));
}

TEST_F(OpenTest, TellsQcow2FromRaw) {
  ImageBuilder builder;
  put("disk.qcow2", builder);
  Loop loop;
  auto image = loop.run(open_image("disk.qcow2", {}));
  EXPECT_EQ(as_qcow2(image.get()), image.get());
  loop.run(image->close());
  auto raw = loop.run(open_image("disk.qcow2", {.format = "raw"}));
  EXPECT_EQ(as_qcow2(raw.get()), nullptr);
  EXPECT_STREQ(raw->driver(), "raw");
  loop.run(raw->close());
}

TEST_F(OpenTest, RefusesWhatCannotBeOpened) {
  folder_.make("disk.raw", pattern(0, 1000, 2));
  folder_.make("disk.vmdk", {'K', 'D', 'M', 'V'});
  EXPECT_EQ(refusal("no").message(),
            "Could not open 'no': Could not open 'no': No such file or directory");
  EXPECT_EQ(refusal("file:no").message(),
            "Could not open 'file:no': Could not open 'no': No such file or directory");
  EXPECT_EQ(refusal(".").message(),
            "Could not open '.': it is not a regular file, and the driver is 'file'");
  EXPECT_EQ(refusal("").message(),
            "Could not open '': The 'file' block driver requires a file name");
  EXPECT_EQ(refusal("no", {.format = "nope"}).message(),
            "Could not open 'no': Unknown driver 'nope'");
  EXPECT_THAT(refusal("disk.raw", {.format = "qcow2"}).message(),
              testing::StartsWith("Could not open 'disk.raw': magic is 0x"));
  EXPECT_EQ(refusal("nope:disk.raw").message(),
            "Could not open 'nope:disk.raw': Unknown protocol 'nope'");
  EXPECT_EQ(refusal("disk.vmdk").message(), "Could not open 'disk.vmdk': Unknown driver 'vmdk'");
  EXPECT_EQ(refusal("json:{}").message(),
            "Could not open 'json:{}': Must specify either driver or file");
}

TEST_F(OpenTest, ReadsAChainWithNamesRelativeToTheOverlay) {
  std::filesystem::create_directory("deep");
  folder_.make("base.raw", pattern(0, kCluster, 5));
  ImageBuilder middle({.backing_filename = "../base.raw"});
  middle.first_cluster.extensions.backing_format = "raw";
  middle.put_data(1, 6);
  put("deep/middle.qcow2", middle);
  put_overlay("deep/top.qcow2", "file:deep/middle.qcow2", "");
  Contents want = pattern(0, kCluster, 5);
  const Contents second = pattern(kCluster, kCluster, 6);
  want.insert(want.end(), second.begin(), second.end());
  want.resize(3 * kCluster);
  EXPECT_EQ(read("deep/top.qcow2", 0, 3 * kCluster), want);
  EXPECT_EQ(read("deep/top.qcow2", 0, kCluster, {.no_backing = true}), Contents(kCluster));
}

TEST_F(OpenTest, NamesEachLinkThatCouldNotBeOpened) {
  put_overlay("middle.qcow2", "gone.qcow2", "qcow2");
  put_overlay("top.qcow2", "middle.qcow2", "qcow2");
  put_overlay("format.qcow2", "middle.qcow2", "nope");
  put_overlay("protocol.qcow2", "nope:x", "raw");
  EXPECT_EQ(refusal("top.qcow2").message(),
            "Could not open 'top.qcow2': Could not open backing file: Could not open backing file: "
            "Could not open 'gone.qcow2': No such file or directory");
  EXPECT_EQ(refusal("format.qcow2").message(),
            "Could not open 'format.qcow2': Could not open backing file: Unknown driver 'nope'");
  EXPECT_EQ(
      refusal("protocol.qcow2").message(),
      "Could not open 'protocol.qcow2': Could not open backing file: Unknown protocol 'nope'");
}

TEST_F(OpenTest, RefusesAChainThatContainsItselfByWhateverName) {
  put_overlay("self.qcow2", "self.qcow2", "qcow2");
  put_overlay("a.qcow2", "./b.qcow2", "qcow2");
  std::filesystem::create_symlink("a.qcow2", "link.qcow2");
  put_overlay("b.qcow2", "link.qcow2", "qcow2");
  for (const char* name : {"self.qcow2", "a.qcow2", "b.qcow2", "link.qcow2"}) {
    const Error error = refusal(name);
    EXPECT_EQ(error.errno_value(), ELOOP) << name;
    EXPECT_THAT(error.message(), testing::HasSubstr("refers to itself")) << name;
  }
  // As raw it is the end of a chain, but still the same image.
  put_overlay("as-raw.qcow2", "as-raw.qcow2", "raw");
  EXPECT_EQ(refusal("as-raw.qcow2").errno_value(), ELOOP);
  EXPECT_EQ(read("self.qcow2", 0, 10, {.no_backing = true}), Contents(10));
}

TEST_F(OpenTest, OpensTheExternalDataFile) {
  ImageBuilder builder({.external_data_file = true});
  builder.set_l2(1, qcow2::layout::L2Entry(kCluster | qcow2::layout::L2Entry::kCopied));
  put("disk.qcow2", builder);
  EXPECT_EQ(refusal("disk.qcow2").message(),
            "Could not open 'disk.qcow2': Could not open 'data.raw': No such file or directory");
  folder_.make("data.raw", pattern(0, 2 * kCluster, 3));
  EXPECT_EQ(read("disk.qcow2", kCluster, kCluster), pattern(kCluster, kCluster, 3));
  std::filesystem::remove("data.raw");
  Loop loop;
  auto image = loop.run(open_image("disk.qcow2", {.metadata_only = true}));
  EXPECT_EQ(as_qcow2(image.get())->data_filename(), "data.raw");
  loop.run(image->close());
}

TEST_F(OpenTest, RefusesADataFileThatIsMissingOrTheImageItself) {
  ImageBuilder nameless({.external_data_file = true});
  nameless.first_cluster.extensions.data_file_name = std::nullopt;
  put("nameless.qcow2", nameless);
  EXPECT_EQ(refusal("nameless.qcow2").message(),
            "Could not open 'nameless.qcow2': 'data-file' is required for this image");
  ImageBuilder empty({.external_data_file = true});
  empty.first_cluster.extensions.data_file_name = "";
  put("empty.qcow2", empty);
  EXPECT_EQ(refusal("empty.qcow2").message(),
            "Could not open 'empty.qcow2': The 'file' block driver requires a file name");
  ImageBuilder self({.external_data_file = true});
  self.first_cluster.extensions.data_file_name = "self.qcow2";
  put("self.qcow2", self);
  EXPECT_EQ(refusal("self.qcow2").errno_value(), ELOOP);
}

TEST_F(OpenTest, OpensNoFileThatTheCallerDoesNotAllow) {
  folder_.make("base.raw", pattern(0, kCluster, 5));
  folder_.make("data.raw", pattern(0, kCluster, 5));
  put_overlay("top.qcow2", "base.raw", "raw");
  ImageBuilder builder({.external_data_file = true});
  put("disk.qcow2", builder);
  EXPECT_EQ(refusal("top.qcow2", {.allow_backing = false}).kind(), ErrorKind::kPermission);
  EXPECT_EQ(refusal("disk.qcow2", {.allow_data_file = false}).kind(), ErrorKind::kPermission);
}

TEST_F(OpenTest, ShowsASnapshotOrTellsWhyNot) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  put("disk.qcow2", builder);
  folder_.make("disk.raw", pattern(0, 512, 1));
  ImageOptions options;
  options.snapshot = qcow2::SnapshotSelector{.id_or_name = "no"};
  EXPECT_EQ(refusal("disk.qcow2", options).message(),
            "Failed to load snapshot: the image has no such snapshot");
  EXPECT_EQ(refusal("disk.raw", options).message(),
            "Failed to load snapshot: Block format 'raw' used by device '' does not support "
            "temporarily loading internal snapshots");
}

TEST_F(OpenTest, TheNullDeviceIsZeroes) {
  EXPECT_EQ(read("null-co://", 0, 100), Contents(100));
}

TEST_F(OpenTest, BackingFilesAreReadOnly) {
  folder_.make("base.raw", pattern(0, kCluster, 5));
  put_overlay("top.qcow2", "base.raw", "raw");
  Loop loop;
  auto image = loop.run(open_image("top.qcow2", {.writable = true}));
  EXPECT_FALSE(image->is_read_only());
  EXPECT_TRUE(as_qcow2(image.get())->backing()->is_read_only());
  loop.run(image->close());
}

TEST_F(OpenTest, AnotherWriterOfTheImageIsKeptOut) {
  ImageBuilder builder;
  put("disk.qcow2", builder);
  Loop loop;
  auto image = loop.run(open_image("disk.qcow2", {.writable = true}));
  const Error error = refusal("disk.qcow2");
  EXPECT_EQ(error.kind(), ErrorKind::kLocked);
  EXPECT_THAT(
      error.message(),
      testing::StartsWith("Could not open 'disk.qcow2': another process uses its permission"));
  EXPECT_EQ(read("disk.qcow2", 0, 10, {.force_share = true}), Contents(10));
  loop.run(image->close());
}

}  // namespace
}  // namespace byre::open
