// SPDX-License-Identifier: Apache-2.0
#include "jobs/rebase_copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "base/units.h"
#include "byre/error.h"
#include "qcow2/check/check.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_check.h"
#include "storage/memory_device.h"
#include "testing/simulated_disk.h"
#include "unit/support/pattern.h"

namespace byre::jobs {
namespace {

constexpr uint64_t kSize = 256 * kKiB;

struct Kind {
  std::string name;
  qcow2::CreateOptions options;
  bool has_base = true;
  bool compressed = false;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  qcow2::CreateOptions options;
  options.size = kSize;
  options.cluster_size = 4096;
  options.backing_filename = "old";
  options.backing_format = "raw";
  all.push_back({"Plain", options});
  all.push_back({"NoBase", options, false});
  all.push_back({"Compressed", options, true, true});
  options.version = 2;
  all.push_back({"Version2", options});
  options.version = 3;
  options.cluster_size = 16384;
  options.extended_l2 = true;
  all.push_back({"ExtendedL2", options, false});
  return all;
}

std::unique_ptr<storage::MemoryDevice> as_device(const storage::SparseBytes& contents) {
  std::vector<uint8_t> bytes(contents.size());
  contents.read(0, bytes);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes));
}

std::unique_ptr<storage::MemoryDevice> old_base() {
  std::vector<uint8_t> bytes = test::pattern(0, kSize, 1);
  std::fill_n(bytes.begin() + 60'000, 40'000, uint8_t{0});
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes), "old");
}

// Equal in a part, different in another, and shorter.
std::unique_ptr<storage::MemoryDevice> new_base() {
  std::vector<uint8_t> bytes = test::pattern(0, 200'000, 1);
  const std::vector<uint8_t> other = test::pattern(0, 50'000, 9);
  std::copy(other.begin(), other.end(), bytes.begin() + 30'000);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes), "new");
}

Task<std::vector<uint8_t>> read_all(BlockDevice* device) {
  std::vector<uint8_t> bytes(device->size());
  const ReadBuffers to((Bytes(bytes)));
  co_await device->read(0, to);
  co_return bytes;
}

qcow2::OpenOptions for_writing() {
  qcow2::OpenOptions options;
  options.writable = true;
  return options;
}

Task<std::unique_ptr<qcow2::Image>> open(std::unique_ptr<BlockDevice> file,
                                         qcow2::OpenOptions options) {
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(file), std::move(options));
  const std::string name = image->backing_filename();
  if (name == "old") image->set_backing(old_base());
  if (name == "new") image->set_backing(new_base());
  co_return image;
}

Task<std::vector<uint8_t>> contents_of(std::unique_ptr<BlockDevice> file) {
  qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open(std::move(file), std::move(options));
  std::vector<uint8_t> bytes = co_await read_all(image.get());
  co_await image->close();
  co_return bytes;
}

Task<uint64_t> corruptions_of(std::unique_ptr<BlockDevice> file) {
  qcow2::OpenOptions options;
  options.for_check = true;
  const std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(file), std::move(options));
  const qcow2::CheckOptions check_options;
  const qcow2::CheckResult result = co_await qcow2::check(*image, check_options);
  co_await image->close();
  co_return result.corruptions + result.check_errors;
}

Task<void> write_something(qcow2::Image* image) {
  const std::vector<uint8_t> bytes = test::pattern(0, 20'000, 3);
  const WriteBuffers from((ConstBytes(bytes)));
  co_await image->write(10'000, from);
  co_await image->close();
}

Task<void> rebase(qcow2::Image* image, BlockDevice* base, bool compressed) {
  co_await copy_differences(image, base, compressed, nullptr, nullptr);
  const std::string name = base == nullptr ? "" : "new";
  const std::string format = base == nullptr ? "" : "raw";
  co_await image->change_backing_file(name, format);
}

class RebasePowerCut : public testing::TestWithParam<Kind> {};

TEST_P(RebasePowerCut, TheImageReadsTheSameAtEveryMoment) {
  auto file = std::make_unique<storage::MemoryDevice>();
  sync_wait(qcow2::create(*file, nullptr, GetParam().options));
  const storage::MemoryDevice* const kept = file.get();
  const std::unique_ptr<qcow2::Image> first = sync_wait(open(std::move(file), for_writing()));
  sync_wait(write_something(first.get()));
  const std::vector<uint8_t> before = sync_wait(contents_of(kept->clone()));
  storage::SparseBytes contents(kept->size());
  contents.write(0, kept->get(0, kept->size()));

  auto disk = std::make_unique<faults::SimulatedDisk>(faults::SimulatedCache(std::move(contents)),
                                                      faults::SimulatedDisk::Options{.seed = 5});
  faults::SimulatedDisk* const simulated = disk.get();
  uint64_t cuts = 0;
  const auto check_cut = [&] {
    const std::unique_ptr<storage::MemoryDevice> left =
        as_device(simulated->cache().power_cut(cuts++));
    ASSERT_EQ(sync_wait(corruptions_of(left->clone())), 0u) << cuts;
    ASSERT_TRUE(sync_wait(contents_of(left->clone())) == before) << cuts;
  };
  Loop loop({.seed = 5});
  const std::unique_ptr<qcow2::Image> image = loop.run(open(std::move(disk), for_writing()));
  const std::unique_ptr<BlockDevice> base = GetParam().has_base ? new_base() : nullptr;
  simulated->set_on_moment([&](faults::SimulatedDisk::Moment, uint64_t) {
    for (int i = 0; i < 3 && !testing::Test::HasFailure(); ++i) check_cut();
  });
  loop.run(rebase(image.get(), base.get(), GetParam().compressed));
  simulated->set_on_moment(nullptr);
  EXPECT_GT(cuts, 30u);
  loop.run(image->close());
  check_cut();
}

INSTANTIATE_TEST_SUITE_P(Kinds, RebasePowerCut, testing::ValuesIn(kinds()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::jobs
