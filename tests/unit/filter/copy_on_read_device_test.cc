// SPDX-License-Identifier: Apache-2.0
#include "filter/copy_on_read_device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "async/loop.h"
#include "filter/filter_device.h"
#include "storage/memory_device.h"
#include "unit/support/pattern.h"

// What is copied, and how: matches observations of QEMU.
namespace byre::filter {
namespace {

using byre::test::pattern;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kUnit = 2048;
constexpr uint64_t kUnits = 16;

// The topmost layer of a chain: has some of the units, and records what it receives.
class Layer final : public FilterDevice {
 public:
  explicit Layer(std::unique_ptr<BlockDevice> below) : FilterDevice(std::move(below)) {
    limits_.preferred_transfer = kUnit;
  }
  const char* driver() const override { return "layer"; }
  const Limits& limits() const override { return limits_; }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags) override {
    note("w", offset, from.size());
    co_return;
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags) override {
    note("z", offset, length);
    co_return;
  }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length, ExtentScope) override {
    const uint64_t unit = offset / kUnit;
    Extent extent{.offset = offset};
    extent.length = std::min(length, (unit + 1) * kUnit - offset);
    extent.present = unit < present.size() && present[unit] == 'p';
    co_return std::vector<Extent>{extent};
  }

  std::string present;
  std::string record;

 private:
  void note(const char* what, uint64_t offset, uint64_t length) {
    const uint64_t first = offset / kUnit;
    const uint64_t count = (length + kUnit - 1) / kUnit;
    record += what + std::to_string(first) + "+" + std::to_string(count) + " ";
    for (uint64_t unit = first; unit < first + count; ++unit) {
      present.resize(std::max<size_t>(present.size(), unit + 1), '-');
      present[unit] = 'p';
    }
  }

  Limits limits_;
};

struct Bed {
  Bed() {
    auto memory = std::make_unique<storage::MemoryDevice>(kUnits * kUnit - 512);
    memory->put(2 * kUnit, pattern(0, 100, 1));
    memory->put(9 * kUnit, pattern(0, kUnit, 1));
    auto top = std::make_unique<Layer>(std::move(memory));
    layer = top.get();
    device = std::make_unique<CopyOnReadDevice>(std::move(top), "");
  }
  std::string copied_for(uint64_t offset, uint64_t length) {
    layer->record.clear();
    Contents bytes(length);
    sync_wait(device->read(offset, Bytes(bytes)));
    return layer->record;
  }
  Layer* layer = nullptr;
  std::unique_ptr<CopyOnReadDevice> device;
};

TEST(CopyOnRead, TakesSubclustersAndOnlyOnce) {
  Bed bed;
  EXPECT_EQ(bed.copied_for(9 * kUnit + 512, 512), "w9+1 ");
  EXPECT_EQ(bed.copied_for(9 * kUnit, kUnit), "");
  EXPECT_EQ(bed.copied_for(2 * kUnit + 1024, 2 * kUnit), "w2+3 ");
}

TEST(CopyOnRead, CopiesZeroesThatNoLayerHas) {
  Bed bed;
  EXPECT_EQ(bed.copied_for(5 * kUnit, 1), "z5+1 ");
  EXPECT_EQ(bed.copied_for((kUnits - 1) * kUnit, 100), "z15+1 ");
}

TEST(CopyOnRead, CopiesInOnePieceWhatTheTopmostLayerDoesNotHave) {
  Bed bed;
  bed.layer->present = "----pp--";
  EXPECT_EQ(bed.copied_for(0, 9 * kUnit), "w0+4 z6+3 ");
  EXPECT_EQ(bed.layer->present, "ppppppppp");
}

}  // namespace
}  // namespace byre::filter
