// SPDX-License-Identifier: Apache-2.0
#include "jobs/map.h"

#include <gtest/gtest.h>

#include "jobs/create.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

struct Row {
  uint64_t offset;
  uint64_t length;
  uint32_t depth;
  bool present;
  bool zero;
  bool data;
  std::optional<uint64_t> host_offset;
  bool operator==(const Row&) const = default;
};

class MapJobTest : public testing::Test {
 protected:
  void make(const std::string& name, const std::string& backing = {}) {
    NewImage image{folder_.file(name), open::CreationOptions("qcow2")};
    image.options.set_size(1 << 20);
    if (!backing.empty()) {
      image.options.set("backing_file", backing);
      image.options.set("backing_fmt", "qcow2");
    }
    Loop loop;
    loop.run(create_image(std::move(image)));
  }
  static Task<void> write_at(std::string path, uint64_t offset, uint64_t length) {
    open::ImageOptions options;
    options.writable = true;
    std::unique_ptr<BlockDevice> device = co_await open::open_image(path, options);
    std::vector<uint8_t> bytes = test::pattern(offset, length, 1);
    const WriteBuffers from{Bytes(bytes)};
    co_await device->write(offset, from, WriteFlags::kNone);
    co_await device->close();
  }
  void write(const std::string& name, uint64_t offset, uint64_t length) {
    Loop loop;
    loop.run(write_at(folder_.file(name), offset, length));
  }
  std::vector<Row> rows(const std::string& name, uint64_t start = 0,
                        std::optional<uint64_t> max_length = std::nullopt) {
    std::vector<Row> all;
    MapJob job;
    job.filename = folder_.file(name);
    job.start_offset = start;
    job.max_length = max_length;
    job.on_extent = [&all](const Extent& extent) {
      all.push_back({extent.offset, extent.length, extent.depth, extent.present, extent.zero,
                     extent.data, extent.host_offset});
    };
    Loop loop;
    loop.run(map(std::move(job)));
    return all;
  }

  test::TemporaryFolder folder_;
};

TEST_F(MapJobTest, NeighboursInOnePieceAreOneRun) {
  make("a.qcow2");
  write("a.qcow2", 0, 196608);
  const std::vector<Row> all = rows("a.qcow2");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], (Row{0, 196608, 0, true, false, true, all[0].host_offset}));
  ASSERT_TRUE(all[0].host_offset.has_value());
  EXPECT_EQ(all[1], (Row{196608, 851968, 0, false, true, false, std::nullopt}));
}

TEST_F(MapJobTest, NeighboursInTwoPiecesAreTwoRuns) {
  make("a.qcow2");
  write("a.qcow2", 65536, 65536);
  write("a.qcow2", 0, 65536);
  const std::vector<Row> all = rows("a.qcow2", 0, 131072);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_GT(*all[0].host_offset, *all[1].host_offset);
}

TEST_F(MapJobTest, LayersOfAChainAreTold) {
  make("base.qcow2");
  write("base.qcow2", 0, 65536);
  make("top.qcow2", "base.qcow2");
  write("top.qcow2", 65536, 65536);
  const std::vector<Row> all = rows("top.qcow2");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].depth, 1u);
  EXPECT_EQ(all[1].depth, 0u);
  EXPECT_TRUE(all[2].zero);
}

TEST_F(MapJobTest, ARangeIsCutToTheImage) {
  make("a.qcow2");
  const Row rest{1000, (1 << 20) - 1000, 0, false, true, false, std::nullopt};
  EXPECT_EQ(rows("a.qcow2", 1000, UINT64_MAX), std::vector<Row>{rest});
  const Row part{1000, 24, 0, false, true, false, std::nullopt};
  EXPECT_EQ(rows("a.qcow2", 1000, 24), std::vector<Row>{part});
}

TEST_F(MapJobTest, AnEmptyRangeIsOneEmptyRun) {
  make("a.qcow2");
  const Row behind{1 << 21, 0, 0, false, false, false, std::nullopt};
  EXPECT_EQ(rows("a.qcow2", 1 << 21), std::vector<Row>{behind});
  const Row nothing{5, 0, 0, false, false, false, std::nullopt};
  EXPECT_EQ(rows("a.qcow2", 5, 0), std::vector<Row>{nothing});
}

}  // namespace
}  // namespace byre::jobs
