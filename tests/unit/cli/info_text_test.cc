// SPDX-License-Identifier: Apache-2.0
#include "cli/info_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace byre::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

jobs::ImageInfo file(const std::string& name, const std::string& driver, uint64_t size,
                     uint64_t allocated_size) {
  jobs::ImageInfo info;
  info.filename = name;
  info.format = driver;
  info.size = size;
  info.allocated_size = allocated_size;
  return info;
}

jobs::ImageInfo plain_qcow2() {
  jobs::ImageInfo info;
  info.filename = "a.qcow2";
  info.format = "qcow2";
  info.size = 10485760;
  info.allocated_size = 200704;
  info.cluster_size = 65536;
  info.is_dirty = false;
  info.children.push_back({"file", file("a.qcow2", "file", 197120, 200704)});
  info.children.back().info.is_dirty = false;
  info.qcow2.emplace();
  return info;
}

TEST(InfoText, IsQemusForAPlainImage) {
  EXPECT_EQ(info_to_human_text(plain_qcow2()),
            "image: a.qcow2\n"
            "file format: qcow2\n"
            "virtual size: 10 MiB (10485760 bytes)\n"
            "disk size: 196 KiB\n"
            "cluster_size: 65536\n"
            "Format specific information:\n"
            "    compat: 1.1\n"
            "    compression type: zlib\n"
            "    lazy refcounts: false\n"
            "    refcount bits: 16\n"
            "    corrupt: false\n"
            "    extended l2: false\n"
            "Child node '/file':\n"
            "    filename: a.qcow2\n"
            "    protocol type: file\n"
            "    file length: 192 KiB (197120 bytes)\n"
            "    disk size: 196 KiB\n");
}

TEST(InfoText, ABackingFileIsShownWithItsPathWhereThatIsAnother) {
  jobs::ImageInfo info = plain_qcow2();
  info.qcow2->backing_filename = "../b";
  info.qcow2->backing_path = "x/../b";
  info.qcow2->backing_format = "raw";
  EXPECT_THAT(info_to_human_text(info),
              HasSubstr("backing file: ../b (actual path: x/../b)\nbacking file format: raw\n"));
  info.qcow2->backing_path = "../b";
  info.qcow2->backing_format = "";
  const std::string text = info_to_human_text(info);
  EXPECT_THAT(text, HasSubstr("backing file: ../b\n"));
  EXPECT_THAT(text, Not(HasSubstr("backing file format")));
}

TEST(InfoText, DirtyAndEncryptedImagesSaySo) {
  jobs::ImageInfo info = plain_qcow2();
  info.qcow2->encryption = jobs::Encryption::kAes;
  info.is_dirty = true;
  const std::string text = info_to_human_text(info);
  EXPECT_THAT(text, HasSubstr("disk size: 196 KiB\nencrypted: yes\ncluster_size: 65536\n"
                              "cleanly shut down: no\n"));
  EXPECT_THAT(text, HasSubstr("    encrypt:\n        format: aes\n"));
  EXPECT_THAT(info_to_json(info).to_text(), HasSubstr("\"dirty-flag\": true"));
}

TEST(InfoText, Version2HasNoFeatures) {
  jobs::ImageInfo info = plain_qcow2();
  info.qcow2->version = 2;
  info.qcow2->data_filename = "version 2 has no data file";
  EXPECT_THAT(info_to_human_text(info), HasSubstr("    compat: 0.10\n"
                                                  "    compression type: zlib\n"
                                                  "    refcount bits: 16\nChild"));
}

TEST(InfoText, ADataFilesNameIsShownWithAndWithoutItsBit) {
  jobs::ImageInfo info = plain_qcow2();
  info.qcow2->data_filename = "d";
  EXPECT_THAT(info_to_human_text(info), HasSubstr("    refcount bits: 16\n    data file: d\n"
                                                  "    corrupt: false\n"));
  info.qcow2->has_data_file = true;
  EXPECT_THAT(info_to_human_text(info), HasSubstr("    data file: d\n    data file raw: false\n"));
  info.qcow2->data_filename = "";
  EXPECT_THAT(info_to_json(info).to_text(), HasSubstr("\"data-file\": \"\","));
  info.qcow2->data_filename.reset();
  EXPECT_THAT(info_to_human_text(info), HasSubstr("    refcount bits: 16\n    data file raw: f"));
}

TEST(InfoText, AnUnknownDiskSizeIsUnavailable) {
  jobs::ImageInfo info = plain_qcow2();
  info.allocated_size.reset();
  EXPECT_THAT(info_to_human_text(info), HasSubstr("disk size: unavailable\n"));
  EXPECT_THAT(info_to_json(info).to_text(), Not(HasSubstr("\n    \"actual-size\"")));
}

TEST(InfoJson, ADeviceWithoutDetailsHasNeitherThemNorADirtyFlag) {
  jobs::ImageInfo info;
  info.filename = "null-co://";
  info.format = "raw";
  info.children.push_back({"file", file("null-co://", "null-co", 512, 0)});
  const std::string text = info_to_json(info).to_text();
  EXPECT_THAT(text, Not(HasSubstr("format-specific")));
  EXPECT_THAT(text, Not(HasSubstr("dirty-flag")));
}

TEST(InfoText, NodesBelowNodesAreIndentedUnderTheirPath) {
  jobs::ImageInfo filter = file("json:{}", "compress", 10485760, 200704);
  filter.children.push_back({"file", plain_qcow2()});
  const std::string text = info_to_human_text(filter);
  EXPECT_THAT(text, HasSubstr("\nChild node '/file':\n    image: a.qcow2\n"));
  EXPECT_THAT(text, HasSubstr("\n    Child node '/file/file':\n        filename: a.qcow2\n"
                              "        protocol type: file\n"));
  EXPECT_THAT(info_to_json(filter).to_text(), HasSubstr("\n                        \"name\""));
}

TEST(InfoText, AFileByItselfIsAnImage) {
  EXPECT_EQ(info_to_human_text(file("a", "file", 512, 4096)),
            "image: a\nfile format: file\nvirtual size: 512 B (512 bytes)\ndisk size: 4 KiB\n");
}

TEST(SnapshotTable, ColumnsAreQemus) {
  setenv("TZ", "UTC", 1);
  tzset();
  jobs::SnapshotInfo first;
  first.id = "1";
  first.name = "one";
  first.date_sec = 1795437235;
  first.instruction_count = 0;
  jobs::SnapshotInfo second;
  second.id = "12345678";
  second.name = "a name that is longer than its column";
  second.vm_state_size = 3 << 19;
  second.vm_clock_nsec = 123 * 3600'000'000'000 + 61'007'999'999;
  EXPECT_EQ(fmt::format("{}\n", fmt::join(snapshot_rows({first, second}), "\n")),
            "ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n"
            "1       one                   0 B 2026-11-23 12:33:55  0000:00:00.000          0\n"
            "12345678 a name that is longer than its column  1.5 MiB 1970-01-01 00:00:00"
            "  0123:01:01.007         --\n");
}

}  // namespace
}  // namespace byre::cli
