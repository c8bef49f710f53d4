// SPDX-License-Identifier: Apache-2.0
#include "jobs/create.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "async/loop.h"
#include "byre/error.h"
#include "open/open.h"

namespace byre::jobs {
namespace {

class CreateImage : public testing::Test {
 protected:
  CreateImage() {
    char name[] = "/tmp/byre-create-XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~CreateImage() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  NewImage image(const std::string& format, uint64_t size) const {
    NewImage image{path("x"), open::CreationOptions(format)};
    image.options.set_size(size);
    return image;
  }

  static void create(NewImage image) {
    Loop loop;
    loop.run(create_image(std::move(image)));
  }

  static std::string refusal(NewImage image) {
    try {
      create(std::move(image));
    } catch (const Error& error) {
      return error.message();
    }
    return "made";
  }

  static void write_file(const std::string& filename, const std::string& text) {
    std::ofstream(filename) << text;
  }

  static Task<uint64_t> guest_size(std::string filename) {
    open::ImageOptions options;
    options.format = "qcow2";
    std::unique_ptr<BlockDevice> device = co_await open::open_image(filename, options);
    const uint64_t size = device->size();
    co_await device->close();
    co_return size;
  }

  std::string folder_;
};

TEST_F(CreateImage, ARawImageIsAFileOfWholeSectors) {
  create(image("raw", 1000));
  EXPECT_EQ(std::filesystem::file_size(path("x")), 1024u);
}

TEST_F(CreateImage, TheFirstBlockOfANewFileIsThere) {
  NewImage data = image("qcow2", 1 << 20);
  data.options.set("data_file", path("data"));
  create(image("raw", 1 << 20));
  struct stat raw{};
  ASSERT_EQ(stat(path("x").c_str(), &raw), 0);
  create(data);
  struct stat of_data{};
  ASSERT_EQ(stat(path("data").c_str(), &of_data), 0);
  EXPECT_EQ(raw.st_blocks, 8);
  EXPECT_EQ(of_data.st_blocks, 8);
  create(image("raw", 0));
  EXPECT_EQ(std::filesystem::file_size(path("x")), 0u);
}

TEST_F(CreateImage, AnExistingFileLosesItsContents) {
  write_file(path("x"), std::string(100000, 'a'));
  create(image("raw", 512));
  std::ifstream file(path("x"));
  std::string text(512, 'x');
  file.read(text.data(), 512);
  EXPECT_EQ(text, std::string(512, '\0'));
  EXPECT_EQ(std::filesystem::file_size(path("x")), 512u);
}

TEST_F(CreateImage, AQcow2ImageOpens) {
  create(image("qcow2", 3 << 20));
  Loop loop;
  EXPECT_EQ(loop.run(guest_size(path("x"))), 3u << 20);
}

TEST_F(CreateImage, AFileNameMayHaveTheFileProtocol) {
  NewImage raw = image("raw", 512);
  raw.filename = "file:" + path("x");
  create(raw);
  EXPECT_TRUE(std::filesystem::exists(path("x")));
}

TEST_F(CreateImage, AnExternalDataFileIsMadeAndEmptied) {
  write_file(path("data"), std::string(100000, 'a'));
  NewImage qcow2 = image("qcow2", 1 << 20);
  qcow2.options.set("data_file", path("data"));
  create(qcow2);
  EXPECT_EQ(std::filesystem::file_size(path("data")), 1u << 20);
  std::ifstream file(path("data"));
  EXPECT_EQ(file.get(), 0);
}

TEST_F(CreateImage, WhatIsRefusedTouchesNothing) {
  write_file(path("x"), "precious");
  NewImage bad = image("qcow2", 1 << 20);
  bad.options.set("cluster_size", "1000");
  EXPECT_EQ(refusal(bad), "cluster_size is 1000, not a power of two from 512 to 2097152");
  NewImage hint = image("raw", 512);
  hint.options.set("extent_size_hint", "5G");
  EXPECT_EQ(refusal(hint), "extent_size_hint is 5368709120; at most 4294967295 is possible");
  NewImage protocol = image("qcow2", 512);
  protocol.options.set("data_file", "nbd:host:10");
  EXPECT_EQ(refusal(protocol), "Unknown protocol 'nbd'");
  EXPECT_EQ(std::filesystem::file_size(path("x")), 8u);
}

TEST_F(CreateImage, AFolderThatIsNotThereIsNamed) {
  NewImage lost = image("qcow2", 512);
  lost.filename = path("no/x");
  EXPECT_EQ(refusal(lost), "Could not create '" + path("no/x") + "': No such file or directory");
  lost.filename = "";
  EXPECT_EQ(refusal(lost), "Could not create '': No such file or directory");
}

TEST_F(CreateImage, ADataFileThatCannotBeMadeTakesTheImageWithIt) {
  NewImage qcow2 = image("qcow2", 1 << 20);
  qcow2.options.set("data_file", path("no/data"));
  EXPECT_EQ(refusal(qcow2),
            "Could not create '" + path("no/data") + "': No such file or directory");
  EXPECT_FALSE(std::filesystem::exists(path("x")));
}

TEST_F(CreateImage, WhatWasThereIsKeptWhereTheNewImageCannotBe) {
  write_file(path("x"), "precious");
  const auto expect_kept = [&](const NewImage& refused, const std::string& why) {
    EXPECT_THAT(refusal(refused), testing::HasSubstr(why));
    std::ifstream file(path("x"));
    const std::string contents((std::istreambuf_iterator<char>(file)), {});
    EXPECT_EQ(contents, "precious") << why;
  };
  NewImage lost = image("qcow2", 1 << 20);
  lost.options.set("data_file", path("no/data"));
  expect_kept(lost, "No such file or directory");
  NewImage own = image("qcow2", 1 << 20);
  own.options.set("data_file", path("x"));
  expect_kept(own, "resize");
  NewImage named = image("qcow2", 1 << 20);
  named.options.set("backing_file", std::string(1100, 'b'));
  named.options.set("backing_fmt", "raw");
  expect_kept(named, "backing_file has 1100 bytes");
  NewImage metadata = image("raw", 512);
  metadata.options.set("preallocation", "metadata");
  expect_kept(metadata, "Unsupported preallocation mode");
  for (const char* mode : {"falloc", "full"}) {
    for (const char* format : {"raw", "qcow2"}) {
      NewImage large = image(format, uint64_t{1} << 50);
      if (large.options.has_option("cluster_size")) large.options.set("cluster_size", "2M");
      large.options.set("preallocation", mode);
      expect_kept(large, "are available; the file is unchanged");
    }
  }
}

TEST_F(CreateImage, OnlyFilesThatWereMadeAreRemoved) {
  write_file(path("data"), "");
  NewImage qcow2 = image("qcow2", 1 << 20);
  qcow2.options.set("data_file", path("data"));
  open::CreatedFiles made;
  sync_wait(create_image(qcow2, &made));
  made.remove();
  EXPECT_FALSE(std::filesystem::exists(path("x")));
  EXPECT_TRUE(std::filesystem::exists(path("data")));
}

TEST_F(CreateImage, OfALinkThatLedNowhereTheFileIsRemoved) {
  std::filesystem::create_symlink("behind", path("x"));
  open::CreatedFiles made;
  sync_wait(create_image(image("qcow2", 1 << 20), &made));
  EXPECT_TRUE(std::filesystem::exists(path("behind")));
  made.remove();
  EXPECT_FALSE(std::filesystem::exists(path("behind")));
  EXPECT_TRUE(std::filesystem::is_symlink(path("x")));
}

TEST_F(CreateImage, AFileThatTookThePlaceOfTheMadeOneStays) {
  open::CreatedFiles made;
  sync_wait(create_image(image("raw", 512), &made));
  std::filesystem::rename(path("x"), path("elsewhere"));
  write_file(path("x"), "another");
  made.remove();
  EXPECT_TRUE(std::filesystem::exists(path("x")));
  EXPECT_TRUE(std::filesystem::exists(path("elsewhere")));
}

TEST_F(CreateImage, TheImageCannotBeItsOwnDataFile) {
  NewImage qcow2 = image("qcow2", 1 << 20);
  qcow2.options.set("data_file", path("x"));
  EXPECT_EQ(refusal(qcow2),
            "Failed to get shared \"resize\" lock\nIs another process using the image [" +
                path("x") + "]?");
  EXPECT_FALSE(std::filesystem::exists(path("x")));
}

TEST_F(CreateImage, ADeviceCannotGrow) {
  NewImage raw = image("raw", 512);
  raw.filename = "/dev/null";
  EXPECT_EQ(refusal(raw), "'/dev/null': 512 bytes are needed; the device has 0 and cannot grow");
  NewImage qcow2 = image("qcow2", 1 << 20);
  qcow2.options.set("data_file", "/dev/null");
  EXPECT_EQ(refusal(qcow2),
            "Could not resize image: '/dev/null': 1048576 bytes are needed; the device has 0 and "
            "cannot grow");
  EXPECT_TRUE(std::filesystem::exists("/dev/null"));
  EXPECT_FALSE(std::filesystem::exists(path("x")));
}

TEST_F(CreateImage, ARawImageThatIsTooLargeLeavesAnEmptyFile) {
  NewImage raw = image("raw", uint64_t{INT64_MAX} - 1023);
  EXPECT_NE(refusal(raw), "made");
  EXPECT_EQ(std::filesystem::file_size(path("x")), 0u);
  EXPECT_EQ(refusal(image("raw", INT64_MAX)), "Could not resize file: Invalid argument");
  NewImage metadata = image("raw", 512);
  metadata.options.set("preallocation", "metadata");
  EXPECT_EQ(refusal(metadata), "Unsupported preallocation mode: metadata");
  EXPECT_EQ(std::filesystem::file_size(path("x")), 0u);
}

}  // namespace
}  // namespace byre::jobs
