// SPDX-License-Identifier: Apache-2.0
#include "filter/node_front.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre::filter {
namespace {

using byre::test::pattern;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kSize = 65536;

// A device that keeps a record and has the limits that a test needs.
class Limited final : public FilterDevice {
 public:
  Limited(std::unique_ptr<BlockDevice> below, Limits limits)
      : FilterDevice(std::move(below)), limits_(limits) {}
  const char* driver() const override { return "limited"; }
  const Limits& limits() const override { return limits_; }

 private:
  Limits limits_;
};

// A front on top of a device with limits, on top of a record, on top of memory.
struct Bed {
  explicit Bed(RequestPolicy policy, Limits limits = {}) {
    auto owned = std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, kSize, 1)));
    memory = owned.get();
    auto recorder = std::make_unique<faults::FaultDevice>(std::move(owned));
    record = recorder.get();
    auto limited = std::make_unique<Limited>(std::move(recorder), limits);
    device = with_front(std::move(limited), policy, limits.transfer_max);
  }
  std::vector<uint64_t> lengths(faults::Operation operation) const {
    std::vector<uint64_t> result;
    for (const faults::FaultEvent& event : record->events()) {
      if (event.operation == operation) result.push_back(event.length);
    }
    return result;
  }

  storage::MemoryDevice* memory;
  faults::FaultDevice* record;
  std::unique_ptr<BlockDevice> device;
};

using Lengths = std::vector<uint64_t>;

TEST(NodeFront, IsThereOnlyWhereItHasSomethingToDo) {
  EXPECT_STREQ(Bed({}).device->driver(), "limited");
  EXPECT_EQ(dynamic_cast<NodeFront*>(Bed({}).device.get()), nullptr);
  Bed bed({.discard = DiscardPolicy::kIgnore});
  EXPECT_NE(dynamic_cast<NodeFront*>(bed.device.get()), nullptr);
  EXPECT_STREQ(bed.device->driver(), "limited");
  EXPECT_STREQ(bed.device->itself().driver(), "limited");
  EXPECT_EQ(&leaf_of(*bed.device), bed.memory);
  auto read_only = std::make_unique<storage::MemoryDevice>(kSize);
  read_only->set_read_only(true);
  const auto device = with_front(std::move(read_only), {.discard = DiscardPolicy::kIgnore}, 0);
  EXPECT_EQ(dynamic_cast<NodeFront*>(device.get()), nullptr);
}

TEST(NodeFront, ADeviceGetsNoLargerTransferThanItTakes) {
  Bed bed({}, {.request_alignment = 512, .transfer_max = 4500});
  EXPECT_EQ(bed.device->limits().transfer_max, 0u);
  Contents bytes(12000);
  sync_wait(bed.device->read(300, Bytes(bytes)));
  EXPECT_EQ(bytes, pattern(300, 12000, 1));
  EXPECT_EQ(bed.lengths(faults::Operation::kRead), (Lengths{4096 - 300, 4096, 4096, 12}));
  const Contents written = pattern(0, 8192, 7);
  sync_wait(bed.device->write(512, ConstBytes(written), WriteFlags::kFua));
  EXPECT_EQ(bed.lengths(faults::Operation::kWrite), (Lengths{4096 - 512 + 512, 4096}));
  for (const faults::FaultEvent& event : bed.record->events()) {
    if (event.operation == faults::Operation::kWrite)
      EXPECT_TRUE(has_flag(event.flags, WriteFlags::kFua));
  }
  EXPECT_EQ(bed.memory->get(512, 8192), written);
}

TEST(NodeFront, ATransferThatIsSmallEnoughIsOneRequest) {
  Bed bed({}, {.transfer_max = 4096});
  Contents bytes(4096);
  sync_wait(bed.device->read(100, Bytes(bytes)));
  sync_wait(bed.device->write(100, ConstBytes(bytes)));
  EXPECT_EQ(bed.lengths(faults::Operation::kRead), (Lengths{4096}));
  EXPECT_EQ(bed.lengths(faults::Operation::kWrite), (Lengths{4096}));
}

TEST(NodeFront, ACompressedWriteIsNotCut) {
  Bed bed({}, {.transfer_max = 4096});
  const Contents bytes = pattern(0, 16384, 3);
  sync_wait(bed.device->write(0, ConstBytes(bytes), WriteFlags::kCompressed));
  EXPECT_EQ(bed.lengths(faults::Operation::kWrite), (Lengths{16384}));
}

TEST(NodeFront, DiscardsThatAreIgnoredLeaveBytesAndSpace) {
  Bed bed({.discard = DiscardPolicy::kIgnore});
  sync_wait(bed.device->discard(0, kSize));
  EXPECT_EQ(bed.lengths(faults::Operation::kDiscard), Lengths{});
  sync_wait(bed.device->write_zeroes(0, 4096, WriteFlags::kMayUnmap | WriteFlags::kFua));
  ASSERT_EQ(bed.record->events().size(), 1u);
  EXPECT_EQ(bed.record->events()[0].flags, WriteFlags::kFua);
  EXPECT_THROW(sync_wait(bed.device->discard(kSize, 1)), Error);
}

TEST(NodeFront, ZeroesAreDetected) {
  const Contents zeroes(4096);
  Bed on({.detect_zeroes = DetectZeroes::kOn});
  sync_wait(on.device->write(0, ConstBytes(zeroes), WriteFlags::kFua));
  ASSERT_EQ(on.record->events().size(), 1u);
  EXPECT_EQ(on.record->events()[0].operation, faults::Operation::kWriteZeroes);
  EXPECT_EQ(on.record->events()[0].flags, WriteFlags::kFua);
  Bed unmap({.detect_zeroes = DetectZeroes::kUnmap});
  sync_wait(unmap.device->write(0, ConstBytes(zeroes)));
  ASSERT_EQ(unmap.record->events().size(), 1u);
  EXPECT_EQ(unmap.record->events()[0].flags, WriteFlags::kMayUnmap);
  sync_wait(unmap.device->write(0, ConstBytes(pattern(0, 4096, 2))));
  EXPECT_EQ(unmap.lengths(faults::Operation::kWrite), Lengths{4096});
}

TEST(NodeFront, ExtentsLeadBackThroughIt) {
  auto owned = std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, kSize, 1)));
  const storage::MemoryDevice& memory = *owned;
  const auto device = with_front(std::move(owned), {.discard = DiscardPolicy::kIgnore}, 0);
  const auto extents = sync_wait(device->extents(0, kSize, ExtentScope::kChain));
  ASSERT_FALSE(extents.empty());
  sync_wait(extents[0].file->discard(0, kSize));
  EXPECT_EQ(memory.get(0, kSize), pattern(0, kSize, 1));
}

}  // namespace
}  // namespace byre::filter
