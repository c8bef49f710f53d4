// SPDX-License-Identifier: Apache-2.0
#include "filter/compress_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "async/loop.h"
#include "async/when_all.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre::filter {
namespace {

using byre::test::pattern;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 3 * kCluster + 512;

// Takes compressed writes, of the lengths that are allowed for them.
class Image final : public FilterDevice {
 public:
  explicit Image(std::unique_ptr<BlockDevice> below) : FilterDevice(std::move(below)) {
    limits_.compressed_write_size = kCluster;
  }
  const char* driver() const override { return "image"; }
  const Limits& limits() const override { return limits_; }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    EXPECT_TRUE(has_flag(flags, WriteFlags::kCompressed));
    EXPECT_EQ(offset % kCluster, 0u);
    EXPECT_EQ(from.size(), std::min(kCluster, size() - offset));
    return below().write(offset, std::move(from));
  }

 private:
  Limits limits_;
};

// A device whose requests overtake one another.
struct Bed {
  explicit Bed(uint64_t seed) {
    auto bytes = std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, kSize, 1)));
    memory = bytes.get();
    auto delays = std::make_unique<faults::FaultDevice>(std::move(bytes));
    delays->set_delays(seed, 9);
    device = std::make_unique<CompressDevice>(std::make_unique<Image>(std::move(delays)), "");
  }
  void run(const std::vector<std::function<Task<void>()>>& requests) {
    std::vector<Task<void>> tasks;
    for (const auto& request : requests) tasks.push_back(request());
    sync_wait(when_all(std::move(tasks)));
  }
  storage::MemoryDevice* memory = nullptr;
  std::unique_ptr<CompressDevice> device;
};

constexpr uint64_t kSeeds = 50;

TEST(Compress, AWriteOfAPartOfAClusterKeepsConcurrentChangesOfTheRest) {
  const Contents bytes = pattern(0, kSize, 2);
  const auto part = [&](uint64_t offset, uint64_t length) {
    return ConstBytes(bytes).subspan(offset, length);
  };
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Bed bed(seed);
    CompressDevice& device = *bed.device;
    bed.run({
        [&] { return device.write(512, part(512, 512)); },
        [&] { return device.write_zeroes(2048, 512, WriteFlags::kNone); },
        [&] { return device.write(kCluster + 1024, part(kCluster + 1024, 512)); },
        // The ends of two clusters.
        [&] { return device.write_zeroes(2 * kCluster - 512, 1024, WriteFlags::kMayUnmap); },
        [&] { return device.write(3 * kCluster - 100, part(3 * kCluster - 100, 200)); },
        [&] { return device.write(1024, part(1024, 100)); },
    });
    Contents want = pattern(0, kSize, 1);
    const auto put = [&](uint64_t offset, uint64_t length) {
      std::ranges::copy(part(offset, length), want.begin() + static_cast<ptrdiff_t>(offset));
    };
    put(512, 512);
    put(kCluster + 1024, 512);
    put(3 * kCluster - 100, 200);
    put(1024, 100);
    std::fill_n(want.begin() + 2048, 512, 0);
    std::fill_n(want.begin() + 2 * kCluster - 512, 1024, 0);
    EXPECT_EQ(bed.memory->get(0, kSize), want) << "seed " << seed;
  }
}

TEST(Compress, AResizeWaitsForWritesWhoseLengthItChanges) {
  const Contents bytes = pattern(0, 100, 2);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Bed bed(seed);
    CompressDevice& device = *bed.device;
    bed.run({
        [&] { return device.write(3 * kCluster, ConstBytes(bytes)); },
        [&] { return device.resize(4 * kCluster, Preallocation::kOff); },
    });
    EXPECT_EQ(bed.memory->get(3 * kCluster, 100), bytes) << "seed " << seed;
  }
}

// A discarded range may keep its former bytes, but not get those of another moment.
TEST(Compress, ADiscardTakesItsTurnAmongTheWritesOfItsClusters) {
  const Contents bytes = pattern(0, 100, 2);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Bed bed(seed);
    CompressDevice& device = *bed.device;
    bed.run({
        [&] { return device.write(0, ConstBytes(bytes)); },
        [&] { return device.discard(1024, 1024); },
    });
    EXPECT_EQ(bed.memory->get(0, 100), bytes);
    EXPECT_EQ(bed.memory->get(1024, 1024), Contents(1024)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace byre::filter
