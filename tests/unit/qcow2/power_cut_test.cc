// SPDX-License-Identifier: Apache-2.0
#include "unit/qcow2/request_script.h"
#include "unit/qcow2/volatile_disk.h"

namespace byre::qcow2::test {
namespace {

struct Case {
  const char* name;
  Layout layout;
  uint64_t cache_size = 0;       // small: tables are written before a flush asks for it
  uint64_t filled = 0;           // so much of the disk is written first
  uint64_t written_at_once = 0;  // behind that, in one request among the others
  int requests = 60;
  uint64_t seeds = 6;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* name, uint64_t size, uint64_t cluster_size) -> Layout& {
    all.push_back({.name = name});
    all.back().layout.create.size = size;
    all.back().layout.create.cluster_size = cluster_size;
    return all.back().layout;
  };
  add("Clusters512", 96 * 1024, 512);
  add("RefcountBlocks", 96 * 1024, 512).create.refcount_bits = 64;
  all.back().filled = 24 * kKiB;
  add("SmallCaches", 96 * 1024, 512);
  all.back().cache_size = 1024;
  add("Clusters4096", 512 * 1024, 4096);
  add("Version2", 96 * 1024, 1024).create.version = 2;
  add("RefcountTableGrows", 2304 * kKiB, 512).create.refcount_bits = 64;
  all.back().cache_size = 4096;
  all.back().filled = 1970 * kKiB;
  all.back().written_at_once = 256 * kKiB;
  all.back().requests = 24;  // the table grows early, and each cut copies all that is filled
  all.back().seeds = 3;
  add("ExtendedL2", 512 * 1024, 16384).create.extended_l2 = true;
  Layout& backing = add("Backing", 96 * 1024, 1024);
  backing.create.backing_filename = "backing";
  backing.create.backing_format = "raw";
  backing.backing_size = 64 * 1024;
  return all;
}

struct Bench {
  const Case* test_case = nullptr;
  VolatileDisk* disk = nullptr;
  Image* image = nullptr;
  SectorModel* model = nullptr;
};

void expect_survives(const Bench& bench, uint64_t seed) {
  Disks left;
  left.file = bench.disk->power_cut(seed);
  expect_sound(left, true);
  const std::vector<uint8_t> bytes =
      sync_wait(read_disks(std::move(left), bench.test_case->layout.backing_size));
  EXPECT_EQ(bench.model->first_wrong(bytes), std::nullopt);
}

class PowerCut : public testing::TestWithParam<Case> {};

TEST_P(PowerCut, LeavesASoundImageWithAllThatWasFlushed) {
  for (uint64_t seed = 1; seed <= GetParam().seeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Layout& layout = GetParam().layout;
    Loop loop;
    SectorModel model(layout);
    Disks disks = make_disks(layout);
    auto disk = std::make_unique<VolatileDisk>(std::move(disks.file));
    Bench bench{&GetParam(), disk.get(), nullptr, &model};
    OpenOptions options = for_writing();
    if (GetParam().cache_size > 0) {
      options.cache.l2_cache_size = GetParam().cache_size;
      options.cache.refcount_cache_size = GetParam().cache_size;
    }
    const std::unique_ptr<Image> image = loop.run(Image::open(std::move(disk), options));
    if (layout.backing_size) {
      const std::vector<uint8_t> backing = backing_bytes(*layout.backing_size);
      image->set_backing(std::make_unique<storage::MemoryDevice>(ConstBytes(backing)));
    }
    if (GetParam().filled > 0) {
      const Request fill{.length = GetParam().filled, .seed = seed};
      model.may_write(fill);
      loop.run(apply(image.get(), fill));
      loop.run(image->flush());
      model.wrote(fill);
      model.flushed();
      ASSERT_EQ(image->header().refcount_table_clusters, 1u);
    }
    uint64_t cut = 0;
    bench.disk->set_on_request([&](bool is_flush) {
      // Before a flush most is at stake.
      for (int i = 0; i < (is_flush ? 6 : 1) && !HasFailure(); ++i) {
        SCOPED_TRACE(testing::Message() << "cut " << cut);
        expect_survives(bench, seed * 1000 + cut++);
      }
    });
    std::vector<Request> script = make_script(layout, seed, GetParam().requests);
    if (GetParam().written_at_once > 0) {
      script.insert(
          script.begin() + 10,
          Request{.offset = GetParam().filled, .length = GetParam().written_at_once, .seed = seed});
    }
    for (const Request& request : script) {
      const bool is_flush = request.kind == Request::Kind::kFlush;
      if (!is_flush) model.may_write(request);
      loop.run(apply(image.get(), request));
      if (is_flush) {
        model.flushed();
      } else if (request.kind == Request::Kind::kDiscard) {
        model.outcome_unknown(request);
      } else {
        model.wrote(request);
      }
    }
    EXPECT_GT(cut, 60u);
    loop.run(image->close());
    expect_survives(bench, seed);
    if (GetParam().written_at_once > 0) EXPECT_GT(image->header().refcount_table_clusters, 1u);
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, PowerCut, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::qcow2::test
