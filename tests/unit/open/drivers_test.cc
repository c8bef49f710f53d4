// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "async/loop.h"
#include "byre/error.h"
#include "filter/blkdebug.h"
#include "open/open.h"
#include "open/option_json.h"
#include "qcow2/create/create.h"
#include "storage/file_device.h"
#include "unit/open/image_folder_test.h"
#include "unit/support/without_override.h"

namespace byre::open {
namespace {

using byre::test::pattern;
using qcow2::test::ImageBuilder;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kCluster = 65536;

class DriversTest : public ImageFolderTest {
 protected:
  DriversTest() {
    folder_.make("a.raw", pattern(0, kCluster, 5));
    ImageBuilder base;
    base.put_data(0, 1);
    put("a.qcow2", base);
    put_overlay("over.qcow2", "a.qcow2", "qcow2");
  }
  // An overlay of a.qcow2 that can be written to.
  void make_overlay(const std::string& name) {
    qcow2::CreateOptions options;
    options.size = 1 << 20;
    options.backing_filename = "a.qcow2";
    options.backing_format = "qcow2";
    const auto file =
        loop_.run(storage::FileDevice::open(name, {.writable = true, .create = true}));
    loop_.run(qcow2::create(*file, nullptr, options));
    loop_.run(file->close());
  }
  std::unique_ptr<BlockDevice> open(const std::string& json, ImageOptions options = {}) {
    return loop_.run(open_image("json:" + json, std::move(options)));
  }
  Contents read(BlockDevice& device, uint64_t offset, size_t length) {
    Contents bytes(length, 0xee);
    loop_.run(device.read(offset, Bytes(bytes)));
    return bytes;
  }
  Contents read_name(const std::string& name, uint64_t offset, size_t length) {
    const auto device = loop_.run(open_image(name, {}));
    Contents bytes = read(*device, offset, length);
    loop_.run(device->close());
    return bytes;
  }
  // Without "Could not open '<name>': ".
  std::string refusal(const std::string& json, ImageOptions options = {}) {
    const std::string name = "json:" + json;
    try {
      loop_.run(open_image(name, std::move(options)));
    } catch (const Error& error) {
      const std::string prefix = "Could not open '" + name + "': ";
      return error.message().starts_with(prefix) ? error.message().substr(prefix.size())
                                                 : error.message();
    }
    return "opened";
  }
  std::string name_of(const std::string& json) {
    const auto device = open(json);
    std::string name = device->filename();
    loop_.run(device->close());
    return name;
  }

  Loop loop_;

 private:
};

TEST_F(DriversTest, ATreeOfOptionsIsOpenedNodeByNode) {
  const auto device =
      open(R"({"driver":"qcow2","file":{"driver":"file","filename":"over.qcow2"}})");
  EXPECT_STREQ(device->driver(), "qcow2");
  EXPECT_EQ(device->filename(), "over.qcow2");
  EXPECT_EQ(read(*device, 0, kCluster), pattern(0, kCluster, 1));
  const auto children = device->children();
  ASSERT_EQ(children.size(), 2u);
  EXPECT_STREQ(children[0].name, "file");
  EXPECT_STREQ(children[1].name, "backing");
  loop_.run(device->close());
}

TEST_F(DriversTest, OptionsBesideANameCountMoreThanTheName) {
  ImageOptions options;
  options.format = "raw";
  const auto device =
      loop_.run(open_image(R"(json:{"driver":"qcow2","file":{"filename":"a.qcow2"}})", options));
  EXPECT_STREQ(device->driver(), "raw");
  loop_.run(device->close());
  options.format.reset();
  options.tree.set("driver", "raw");
  const auto other = loop_.run(open_image("a.qcow2", options));
  EXPECT_STREQ(other->driver(), "raw");
  loop_.run(other->close());
}

TEST_F(DriversTest, AProtocolMayBeOpenedByItself) {
  const auto file = open(R"({"driver":"file","filename":"a.raw"})");
  EXPECT_STREQ(file->driver(), "file");
  loop_.run(file->close());
  const auto null = open(R"({"driver":"null-co","size":1000,"latency-ns":1000})");
  EXPECT_EQ(null->size(), 1000u);
  EXPECT_EQ(read(*null, 0, 1000), Contents(1000));
  EXPECT_EQ(null->filename(), R"(json:{"driver": "null-co", "size": 1000, "latency-ns": 1000})");
  loop_.run(null->close());
}

TEST_F(DriversTest, RefusesWhatMakesNoSense) {
  const std::pair<const char*, const char*> kCases[] = {
      {"{}", "Must specify either driver or file"},
      {R"({"driver":"nope"})", "Unknown driver 'nope'"},
      {R"({"driver":"qcow2"})", R"(A block device must be specified for "file")"},
      {R"({"driver":"file"})", "The 'file' block driver requires a file name"},
      {R"({"file":"n"})", "Cannot find device='n' nor node-name='n'"},
      {R"({"file":"n","file.filename":"a.raw"})",
       "Cannot reference an existing block device with additional options or a new filename"},
      {R"({"driver":"raw","file":{"filename":"a.raw","x":1}})",
       "Block protocol 'file' doesn't support the option 'x'"},
      {R"({"driver":"raw","file":{"filename":"a.raw"},"x":1})",
       "Block format 'raw' does not support the option 'x'"},
      {R"({"driver":"raw","file":{"filename":"a.raw"},"cache.writeback":true})",
       "Block format 'raw' does not support the option 'cache.writeback'"},
      {R"({"driver":"raw","file":{"filename":"a.raw"},"backing":"x"})",
       "Driver doesn't support backing files"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"read-only":1})",
       "Parameter 'read-only' expects 'on' or 'off'"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"l2-cache-size":-1})",
       "Value '-1' is out of range for parameter 'l2-cache-size'"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"cache-clean-interval":"x"})",
       "Parameter 'cache-clean-interval' expects a number"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"discard":"x"})",
       "Invalid discard option"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"detect-zeroes":"x"})",
       "invalid parameter value: x"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"detect-zeroes":"unmap"})",
       "detect-zeroes is unmap, which requires discard=unmap"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"encrypt.format":"luks"})",
       "No encryption in image header, but options specified format 'luks'"},
      {R"({"driver":"qcow2","file":{"filename":"a.qcow2"},"data-file":{"filename":"a.raw"}})",
       "'data-file' can only be set for images with an external data file"},
      {R"({"driver":"raw","file":{"filename":"a.raw","locking":"x"}})",
       "invalid parameter value: x"},
      {R"({"driver":"raw","file":{"filename":"a.raw","aio":"native"}})",
       "aio=native was specified, but it requires cache.direct=on, which was not specified."},
      {R"({"driver":"host_device","filename":"a.raw"})",
       "'a.raw': it is not a device, and the driver is 'host_device'"},
      {R"({"driver":"file","filename":"/dev/null"})",
       "'/dev/null': it is not a regular file, and the driver is 'file'"},
      {R"({"driver":"null-co","latency-ns":-1})", "latency-ns is invalid"},
      {R"({"driver":"blkdebug","image":{"filename":"a.raw"},"align":3})",
       "Cannot meet constraints with align 3"},
      {R"({"driver":"blkdebug","image":{"filename":"a.raw"},"align":512,"max-transfer":700})",
       "Cannot meet constraints with max-transfer 700"},
      {R"({"driver":"blkdebug","image":{"filename":"a.raw"},"config":"gone"})",
       "Could not read blkdebug config file: No such file or directory"},
      {R"({"driver":"compress","file":{"driver":"raw","file":{"filename":"a.raw"}}})",
       "Compression is not supported for underlying format: raw"},
      {R"({"driver":"copy-on-read","file":{"driver":"qcow2","file":{"filename":"a.qcow2"}}})",
       "Block node is read-only"},
      {R"({"driver":"raw","file":{"filename":"a.raw"},"node-name":"1"})", "Invalid node-name: '1'"},
      {R"({"driver":"raw","file":{"filename":"a.raw","node-name":"n"},"node-name":"n"})",
       "Duplicate nodes with node-name='n'"},
      {R"({"driver":"raw","file":{"filename":"a.raw"},"read-only":false,"force-share":true})",
       "force-share=on can only be used with read-only images"},
  };
  for (const auto& [json, message] : kCases) EXPECT_EQ(refusal(json), message) << json;
}

TEST_F(DriversTest, NamesAreShortWhereTheySayAllAndJsonWhereTheyDoNot) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"driver":"raw","file":{"filename":"a.raw"}})", "a.raw"},
      {R"({"driver":"raw","file":{"filename":"a.raw"},"offset":512})",
       R"(json:{"offset": 512, "driver": "raw", "file": {"driver": "file", "filename": "a.raw"}})"},
      {R"({"driver":"qcow2","file":{"driver":"raw","file":{"filename":"a.qcow2"}}})",
       R"(json:{"driver": "qcow2", "file": {"driver": "raw", "file": {"driver": "file", )"
       R"("filename": "a.qcow2"}}})"},
      {R"({"driver":"qcow2","file":{"driver":"blkdebug","image":{"filename":"a.qcow2"}}})",
       "blkdebug::a.qcow2"},
      {R"({"driver":"blkdebug","image":{"filename":"a.raw"},"inject-error.0.event":"read_aio"})",
       R"(json:{"image": {"driver": "file", "filename": "a.raw"}, "driver": "blkdebug", )"
       R"("inject-error.0.event": "read_aio"})"},
  };
  for (const auto& [json, name] : kCases) EXPECT_EQ(name_of(json), name) << json;
}

TEST_F(DriversTest, ARawImageMayBeAWindowOfItsFile) {
  const auto raw = open(R"({"driver":"raw","file":{"filename":"a.raw"},"offset":100,"size":1024})",
                        {.writable = true});
  EXPECT_EQ(raw->size(), 1024u);
  EXPECT_FALSE(raw->limits().grows);
  EXPECT_EQ(read(*raw, 10, 100), pattern(110, 100, 5));
  const Contents bytes = pattern(0, 24, 9);
  loop_.run(raw->write(1000, ConstBytes(bytes)));
  EXPECT_THROW(loop_.run(raw->write(1001, ConstBytes(bytes))), Error);
  EXPECT_THROW(loop_.run(raw->resize(2048, Preallocation::kOff)), Error);
  const auto extents = loop_.run(raw->extents(0, 1024, ExtentScope::kLayer));
  ASSERT_FALSE(extents.empty());
  EXPECT_EQ(extents[0].offset, 0u);
  EXPECT_EQ(extents[0].host_offset, 100u);
  loop_.run(raw->close());
  EXPECT_EQ(read_name("a.raw", 1100, 24), bytes);
  EXPECT_EQ(refusal(R"({"driver":"raw","file":{"filename":"a.raw"},"offset":65537})"),
            "Offset (65537) cannot be greater than size of the containing file (65536)");
  EXPECT_EQ(refusal(R"({"driver":"raw","file":{"filename":"a.raw"},"size":66048})"),
            "The sum of offset (0) and size (66048) has to be smaller or equal to the  actual size "
            "of the containing file (65536)");
  EXPECT_EQ(refusal(R"({"driver":"raw","file":{"filename":"a.raw"},"size":100})"),
            "Specified size is not multiple of 512");
}

TEST_F(DriversTest, ARawImageThatWasProbedIsNotMadeToLookLikeAnotherFormat) {
  std::vector<Warning> warnings;
  ImageOptions options{.writable = true};
  options.on_warning = [&](const Warning& warning) { warnings.push_back(warning); };
  const auto raw = loop_.run(open_image("a.raw", options));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].kind, WarningKind::kFormatGuessed);
  EXPECT_EQ(warnings[0].problem.data().code, "raw-format-guessed");
  EXPECT_EQ(warnings[0].problem.data().name, "a.raw");
  const Contents magic{'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};
  EXPECT_THROW(loop_.run(raw->write(0, ConstBytes(magic))), Error);
  loop_.run(raw->write(1, ConstBytes(magic)));
  loop_.run(raw->close());
}

TEST_F(DriversTest, ABackingFileMayBeLeftOutReplacedOrDescribed) {
  const auto without =
      open(R"({"driver":"qcow2","file":{"filename":"over.qcow2"},"backing":null})");
  EXPECT_EQ(read(*without, 0, 100), Contents(100));
  loop_.run(without->close());
  const auto replaced = open(
      R"({"driver":"qcow2","file":{"filename":"over.qcow2"},
          "backing":{"driver":"raw","file":{"filename":"a.raw"}}})");
  EXPECT_EQ(read(*replaced, 0, 100), pattern(0, 100, 5));
  loop_.run(replaced->close());
  put_overlay("json.qcow2", R"(json:{"driver":"raw","file":{"filename":"a.raw"},"offset":512})",
              "");
  EXPECT_EQ(read_name("json.qcow2", 0, 100), pattern(512, 100, 5));
}

TEST_F(DriversTest, ANodeMayBeUsedTwiceByItsName) {
  const auto device = open(
      R"({"driver":"qcow2","file":{"filename":"a.qcow2","node-name":"f"},
          "backing":{"driver":"raw","file":"f"}})");
  const auto raw = open(R"({"driver":"raw","file":{"filename":"a.qcow2"}})");
  EXPECT_EQ(read(*device, kCluster, 512), read(*raw, kCluster, 512));
  loop_.run(raw->close());
  loop_.run(device->close());
  EXPECT_EQ(refusal(R"({"driver":"qcow2","node-name":"n","file":{"filename":"over.qcow2"},
                       "backing":"n"})"),
            "Making 'n' a backing child of 'n' would create a cycle");
}

TEST_F(DriversTest, AnImageNamesNothingInJsonThatTheCallerDoesNotAllow) {
  put_overlay("json.qcow2", R"(json:{"driver":"raw","file":{"filename":"a.raw"}})", "");
  const auto kind_of = [this](const std::string& name, ImageOptions options) {
    try {
      loop_.run(open_image(name, std::move(options)));
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kInvalidArgument;
  };
  EXPECT_EQ(kind_of("json.qcow2", {.allow_backing = false}), ErrorKind::kPermission);
  // Allowing a backing file does not allow its description to name a data file.
  ImageBuilder with_data({.external_data_file = true});
  put("data.qcow2", with_data);
  put_overlay("sly.qcow2",
              R"(json:{"driver":"qcow2","file":{"filename":"data.qcow2"},)"
              R"("data-file":{"filename":"a.raw"}})",
              "");
  EXPECT_EQ(kind_of("sly.qcow2", {.allow_data_file = false}), ErrorKind::kPermission);
  // Nor is a file that the caller itself chose refused.
  ImageOptions options{.allow_backing = false};
  options.tree = parse_option_json(
      R"({"driver":"qcow2","backing":{"driver":"raw","file":{"filename":"a.raw"}}})");
  const auto device = loop_.run(open_image("over.qcow2", options));
  EXPECT_EQ(read(*device, 0, 100), pattern(0, 100, 5));
  loop_.run(device->close());
}

TEST_F(DriversTest, ADataFilesNameIsNothingButAName) {
  for (const char* name : {"json:{}", "file:a.raw"}) {
    ImageBuilder builder({.external_data_file = true});
    builder.first_cluster.extensions.data_file_name = name;
    put("disk.qcow2", builder);
    EXPECT_EQ(refusal(R"({"driver":"qcow2","file":{"filename":"disk.qcow2"}})"),
              std::string("Could not open '") + name + "': No such file or directory");
  }
}

TEST_F(DriversTest, DescriptionsThatGoInCirclesOrTooDeepAreRefused) {
  put_overlay("self.qcow2", R"(json:{"driver":"qcow2","file":{"filename":"self.qcow2"}})", "");
  EXPECT_THAT(refusal(R"({"driver":"qcow2","file":{"filename":"self.qcow2"}})"),
              testing::HasSubstr("refers to itself"));
  const auto nested = [](int depth) {
    std::string json;
    for (int i = 0; i < depth; ++i) json += R"({"driver":"raw","file":)";
    return json + R"({"driver":"null-co"})" + std::string(static_cast<size_t>(depth), '}');
  };
  const auto device = open(nested(200));
  EXPECT_EQ(device->size(), uint64_t{1} << 30);
  loop_.run(device->close());
  EXPECT_EQ(refusal(nested(201)), "Node nesting exceeds a depth of 200");
}

TEST_F(DriversTest, BlkdebugHearsTheEventsOfTheImageAbove) {
  const std::string image =
      R"({"driver":"qcow2","file":{"driver":"blkdebug","image":{"filename":"a.qcow2"},)";
  const auto device =
      open(image + R"("inject-error":[{"event":"read_aio","once":true}]}})", {.writable = true});
  ASSERT_NE(find_debug_listener(*device), nullptr);
  Contents bytes(512);
  EXPECT_THROW(loop_.run(device->read(0, Bytes(bytes))), Error);
  EXPECT_EQ(read(*device, 0, 512), pattern(0, 512, 1));
  loop_.run(device->close());
}

TEST_F(DriversTest, ARulesFileIsReadForBlkdebug) {
  std::ofstream("rules") << "[inject-error]\nevent = \"read_aio\"\nerrno = \"28\"\n";
  const auto device = loop_.run(open_image("blkdebug:rules:a.raw", {}));
  EXPECT_EQ(device->filename(), "blkdebug:rules:a.raw");
  Contents bytes(512);
  try {
    loop_.run(device->read(0, Bytes(bytes)));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), ENOSPC);
  }
  loop_.run(device->close());
}

TEST_F(DriversTest, ReadingThroughCopyOnReadCopies) {
  make_overlay("new.qcow2");
  {
    const auto device = open(
        R"({"driver":"copy-on-read","file":{"driver":"qcow2","file":{"filename":"new.qcow2"}}})",
        {.writable = true});
    EXPECT_EQ(read(*device, 100, 100), pattern(100, 100, 1));
    loop_.run(device->close());
  }
  const auto top = open(R"({"driver":"qcow2","file":{"filename":"new.qcow2"},"backing":null})");
  EXPECT_EQ(read(*top, 0, kCluster), pattern(0, kCluster, 1));
  loop_.run(top->close());
}

TEST_F(DriversTest, WritingThroughCompressCompresses) {
  make_overlay("new.qcow2");
  {
    const auto device =
        open(R"({"driver":"compress","file":{"driver":"qcow2","file":{"filename":"new.qcow2"}}})",
             {.writable = true});
    const Contents bytes(kCluster + 100, 7);
    loop_.run(device->write(2 * kCluster - 50, ConstBytes(bytes)));
    EXPECT_EQ(read(*device, 2 * kCluster - 50, bytes.size()), bytes);
    loop_.run(device->close());
  }
  const auto top = open(R"({"driver":"qcow2","file":{"filename":"new.qcow2"}})");
  const auto extents = loop_.run(top->extents(2 * kCluster, kCluster, ExtentScope::kLayer));
  ASSERT_FALSE(extents.empty());
  EXPECT_TRUE(extents[0].compressed);
  EXPECT_EQ(read(*top, 2 * kCluster - 60, 10), Contents(10));
  loop_.run(top->close());
}

TEST_F(DriversTest, AFileThatMayNotBeWrittenMayBeOpenedReadOnly) {
  const test::WithoutOverride as_anybody;
  std::filesystem::permissions("a.raw", std::filesystem::perms::owner_read);
  EXPECT_THAT(refusal(R"({"driver":"file","filename":"a.raw"})", {.writable = true}),
              testing::HasSubstr("Permission denied"));
  const auto file =
      open(R"({"driver":"file","filename":"a.raw","read-only":false,"auto-read-only":true})");
  EXPECT_TRUE(file->is_read_only());
  loop_.run(file->close());
}

}  // namespace
}  // namespace byre::open
