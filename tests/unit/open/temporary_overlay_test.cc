// SPDX-License-Identifier: Apache-2.0
#include "open/temporary_overlay.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "async/loop.h"
#include "storage/memory_device.h"

namespace byre::open {
namespace {

constexpr uint64_t kSize = 300 * 1024;

std::unique_ptr<storage::MemoryDevice> filled_disk() {
  std::vector<uint8_t> bytes(kSize);
  std::iota(bytes.begin(), bytes.end(), uint8_t{3});
  return std::make_unique<storage::MemoryDevice>(bytes);
}

std::vector<uint8_t> read_all(Loop& loop, BlockDevice& device) {
  std::vector<uint8_t> bytes(device.size());
  loop.run(device.read(0, ReadBuffers(Bytes(bytes))));
  return bytes;
}

TEST(TemporaryOverlay, TakesWritesAndLeavesTheImageAsItIs) {
  Loop loop;
  std::unique_ptr<storage::MemoryDevice> disk = filled_disk();
  disk->set_read_only(true);
  const storage::MemoryDevice* const below = disk.get();
  const std::vector<uint8_t> before = below->get(0, kSize);
  const std::unique_ptr<BlockDevice> overlay =
      loop.run(put_temporary_overlay(std::move(disk), true, RequestPolicy{}));
  EXPECT_EQ(overlay->size(), kSize);
  EXPECT_EQ(read_all(loop, *overlay), before);

  std::vector<uint8_t> after = before;
  const std::vector<uint8_t> written(5000, 9);
  std::copy(written.begin(), written.end(), after.begin() + 70000);
  loop.run(overlay->write(70000, WriteBuffers(ConstBytes(written))));
  EXPECT_EQ(read_all(loop, *overlay), after);
  EXPECT_EQ(below->get(0, kSize), before);
  loop.run(overlay->close());
}

TEST(TemporaryOverlay, MayBeReadOnlyItself) {
  Loop loop;
  std::unique_ptr<storage::MemoryDevice> disk = filled_disk();
  const std::vector<uint8_t> before = disk->get(0, kSize);
  const std::unique_ptr<BlockDevice> overlay =
      loop.run(put_temporary_overlay(std::move(disk), false, RequestPolicy{}));
  EXPECT_TRUE(overlay->is_read_only());
  EXPECT_EQ(read_all(loop, *overlay), before);
  loop.run(overlay->close());
}

}  // namespace
}  // namespace byre::open
