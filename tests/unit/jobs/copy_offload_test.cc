// SPDX-License-Identifier: Apache-2.0
#include "jobs/copy_offload.h"

#include <gtest/gtest.h>

#include <fstream>

#include "async/loop.h"
#include "jobs/convert.h"
#include "open/open.h"
#include "storage/memory_device.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

void write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

std::unique_ptr<BlockDevice> open_raw(Loop& loop, const std::string& path, bool writable) {
  open::ImageOptions options;
  options.format = "raw";
  options.writable = writable;
  return loop.run(open::open_image(path, options));
}

std::vector<uint8_t> read_all(Loop& loop, BlockDevice& device) {
  std::vector<uint8_t> bytes(device.size());
  loop.run(device.read(0, ReadBuffers(Bytes(bytes))));
  return bytes;
}

TEST(CopyOffload, RawFilesAreCopiedByTheHost) {
  const test::TemporaryFolder folder;
  const auto bytes = test::pattern(0, (5 << 20) + 512, 1);
  write_file(folder.file("source"), bytes);
  write_file(folder.file("target"), std::vector<uint8_t>(bytes.size(), 0));
  Loop loop;
  const auto source = open_raw(loop, folder.file("source"), false);
  const auto target = open_raw(loop, folder.file("target"), true);
  const SourceSequence sequence({source.get()});
  CopyOffload offload(sequence, *target);
  // On a file system without the call the ordinary copy is used, which the next test covers.
  if (!loop.run(offload.copy(0, 1000))) GTEST_SKIP() << "no copy_file_range here";
  EXPECT_TRUE(loop.run(offload.copy(1000, bytes.size() - 1000)));
  EXPECT_EQ(read_all(loop, *target), bytes);
  loop.run(source->close());
  loop.run(target->close());
}

// A raw image may be a part of its file: `offset` and `size` of the driver.
TEST(CopyOffload, PartsOfFilesAreCopiedFromAndToTheirOwnOffsets) {
  const test::TemporaryFolder folder;
  const auto bytes = test::pattern(0, 3 << 20, 1);
  const auto before = test::pattern(0, 4 << 20, 2);
  write_file(folder.file("source"), bytes);
  write_file(folder.file("target"), before);
  const auto part = [&folder](const char* name, uint64_t offset, uint64_t size) {
    return R"(json:{"driver":"raw","offset":)" + std::to_string(offset) + R"(,"size":)" +
           std::to_string(size) + R"(,"file":{"driver":"file","filename":")" + folder.file(name) +
           R"("}})";
  };
  Loop loop;
  const auto source = open_raw(loop, part("source", 1 << 20, 1 << 20), false);
  const auto target = open_raw(loop, part("target", 2 << 20, 1 << 20), true);
  const SourceSequence sequence({source.get()});
  CopyOffload offload(sequence, *target);
  if (!loop.run(offload.copy(0, 4096))) GTEST_SKIP() << "no copy_file_range here";
  EXPECT_TRUE(loop.run(offload.copy(4096, (1 << 20) - 4096)));
  // A write of a part does not pass its end.
  EXPECT_FALSE(loop.run(offload.copy((1 << 20) - 4096, 8192)));
  loop.run(source->close());
  loop.run(target->close());
  auto expected = before;
  std::copy_n(bytes.begin() + (1 << 20), 1 << 20, expected.begin() + (2 << 20));
  const auto whole = open_raw(loop, folder.file("target"), false);
  EXPECT_EQ(read_all(loop, *whole), expected);
  loop.run(whole->close());
}

TEST(CopyOffload, ConversionWithItGivesTheSameBytes) {
  const test::TemporaryFolder folder;
  auto bytes = test::pattern(0, 5 << 20, 1);
  std::fill(bytes.begin() + 70000, bytes.begin() + 3000000, 0);
  write_file(folder.file("a"), bytes);
  write_file(folder.file("b"), test::pattern(0, 1000, 2));
  write_file(folder.file("target"), std::vector<uint8_t>(bytes.size() + 1024, 0));
  Loop loop;
  const auto a = open_raw(loop, folder.file("a"), false);
  const auto b = open_raw(loop, folder.file("b"), false);
  const auto target = open_raw(loop, folder.file("target"), true);
  ConvertOptions options;
  options.copy_range = true;
  options.target_is_zero = true;
  loop.run(convert({a.get(), b.get()}, *target, options, nullptr, nullptr));
  const auto end = test::pattern(0, 1000, 2);
  bytes.insert(bytes.end(), end.begin(), end.end());
  bytes.resize(bytes.size() + 24, 0);
  EXPECT_EQ(read_all(loop, *target), bytes);
  loop.run(a->close());
  loop.run(b->close());
  loop.run(target->close());
}

TEST(CopyOffload, OtherDevicesAreCopiedInTheOrdinaryWay) {
  const auto bytes = test::pattern(0, 65536, 1);
  storage::MemoryDevice source{ConstBytes(bytes)};
  storage::MemoryDevice target(65536);
  const SourceSequence sequence({&source});
  CopyOffload offload(sequence, target);
  EXPECT_FALSE(sync_wait(offload.copy(0, 65536)));
  ConvertOptions options;
  options.copy_range = true;
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  EXPECT_EQ(target.get(0, 65536), bytes);
}

}  // namespace
}  // namespace byre::jobs
