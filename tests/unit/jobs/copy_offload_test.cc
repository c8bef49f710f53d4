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
  loop.run(device.read(0, IoVector(Bytes(bytes))));
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
