// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "async/loop.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/jobs/scripted_device.h"
#include "unit/support/pattern.h"

namespace byre::jobs {
namespace {

using storage::MemoryDevice;
using test::ScriptedDevice;

constexpr uint64_t kSize = 9 << 20;

// Data, holes and written zeroes, all at unaligned offsets.
std::vector<uint8_t> mixed_contents(uint64_t size) {
  std::vector<uint8_t> bytes(size, 0);
  for (const auto& [offset, length] : {std::pair<uint64_t, uint64_t>{0, 5000},
                                       {70000, 300000},
                                       {(2 << 20) - 3000, 6000},
                                       {4 << 20, 2 << 20},
                                       {size - 1000, 1000}}) {
    const auto data = test::pattern(offset, length, 1);
    std::copy(data.begin(), data.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
  }
  return bytes;
}

void fill(MemoryDevice& device, const std::vector<uint8_t>& bytes) {
  for (size_t at = 0; at < bytes.size(); at += 4096) {
    const ConstBytes block =
        ConstBytes(bytes).subspan(at, std::min<size_t>(4096, bytes.size() - at));
    if (!is_all_zero(block)) device.put(at, block);
  }
}

std::string failure_of(Task<void> task) {
  try {
    sync_wait(std::move(task));
  } catch (const Error& error) {
    return error.message();
  }
  return "none";
}

TEST(Convert, TheTargetReadsAsTheSourceForEveryOrderSparsenessAndNumberOfRequests) {
  const auto bytes = mixed_contents(kSize);
  MemoryDevice source(kSize);
  fill(source, bytes);
  for (const WriteOrder order : {WriteOrder::kAny, WriteOrder::kStarted, WriteOrder::kOneByOne}) {
    for (const uint64_t sparse_size : {0, 4096, 12288}) {
      for (const unsigned in_flight : {1u, 8u}) {
        MemoryDevice target{ConstBytes(test::pattern(0, kSize + 512, 2))};
        ConvertOptions options;
        options.write_order = order;
        options.sparse_size = sparse_size;
        options.in_flight = in_flight;
        sync_wait(convert({&source}, target, options, nullptr, nullptr));
        EXPECT_EQ(target.get(0, kSize), bytes) << sparse_size << " " << in_flight;
        EXPECT_EQ(target.get(kSize, 512), test::pattern(kSize, 512, 2)) << "past the source";
      }
    }
  }
}

TEST(Convert, SeveralSourcesStandOneBehindTheOther) {
  const auto a = test::pattern(0, 1000, 1);
  const auto b = test::pattern(0, 3 << 20, 2);
  MemoryDevice first{ConstBytes(a)};
  MemoryDevice second{ConstBytes(b)};
  MemoryDevice target(1024 + b.size());
  sync_wait(convert({&first, &second}, target, {}, nullptr, nullptr));
  EXPECT_EQ(target.get(0, 1000), a);
  EXPECT_EQ(target.get(1000, 24), std::vector<uint8_t>(24, 0));
  EXPECT_EQ(target.get(1024, b.size()), b);
}

TEST(Convert, LargeDataGoesInPiecesThatStayInTheProcessorsCache) {
  const auto bytes = test::pattern(0, 3 << 20, 1);
  MemoryDevice source{ConstBytes(bytes)};
  ScriptedDevice target(bytes.size());
  sync_wait(convert({&source}, target, {}, nullptr, nullptr));
  EXPECT_EQ(target.started.size(), 6u);
  for (const ScriptedDevice::Write& write : target.started) EXPECT_LE(write.length, 512u << 10);
}

TEST(Convert, ZeroesAreLookedForInNoLessThanWhatCountsAsARun) {
  MemoryDevice source(4 << 20);
  source.put(0, test::pattern(0, 1 << 20, 1));
  source.put(1 << 20, std::vector<uint8_t>(1 << 20, 0));
  source.put(2 << 20, test::pattern(2 << 20, 2 << 20, 1));
  ScriptedDevice target(4 << 20);
  ConvertOptions options;
  options.sparse_size = 1 << 20;
  options.target_is_zero = true;
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  EXPECT_EQ(target.started, (std::vector<ScriptedDevice::Write>{{0, 1 << 20, false, false},
                                                                {2 << 20, 2 << 20, false, false}}));
}

TEST(Convert, AZeroTargetGetsDataOnly) {
  MemoryDevice source(kSize);
  source.put(0, test::pattern(0, 4096, 1));
  source.put(65536, std::vector<uint8_t>(65536, 0));
  ScriptedDevice target(kSize);
  ConvertOptions options;
  options.target_is_zero = true;
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  EXPECT_EQ(target.started, (std::vector<ScriptedDevice::Write>{{0, 4096, false, false}}));
  EXPECT_EQ(target.flushes, 1);
}

TEST(Convert, WithSparseSizeZeroHolesAreWrittenAsData) {
  MemoryDevice source(4 << 20);
  ScriptedDevice target(4 << 20);
  ConvertOptions options;
  options.target_is_zero = true;
  options.sparse_size = 0;
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  uint64_t written = 0;
  for (const ScriptedDevice::Write& write : target.started) {
    EXPECT_FALSE(write.zeroes);
    written += write.length;
  }
  EXPECT_EQ(written, target.size());
}

TEST(Convert, WritesBeginInOrderUnlessToldOtherwise) {
  const auto bytes = test::pattern(0, 16 << 20, 1);
  for (const WriteOrder order : {WriteOrder::kStarted, WriteOrder::kOneByOne}) {
    faults::FaultDevice source(std::make_unique<MemoryDevice>(ConstBytes(bytes)));
    source.set_delays(7, 20);
    ScriptedDevice target(bytes.size());
    ConvertOptions options;
    options.write_order = order;
    sync_wait(convert({&source}, target, options, nullptr, nullptr));
    EXPECT_TRUE(std::is_sorted(target.started.begin(), target.started.end(),
                               [](const auto& a, const auto& b) { return a.offset < b.offset; }));
    EXPECT_EQ(target.contents(), bytes);
  }
}

TEST(Convert, CompressedClustersAreWholeAndZeroClustersAreNotCompressed) {
  std::vector<uint8_t> bytes(5 * 65536 + 512, 0);
  const auto data = test::pattern(0, 1000, 1);
  std::copy(data.begin(), data.end(), bytes.begin() + 65536 + 3000);
  bytes[4 * 65536] = 1;
  bytes.back() = 1;
  MemoryDevice source{ConstBytes(bytes)};
  ScriptedDevice target(bytes.size());
  target.scripted_limits.compressed_write_size = 65536;
  ConvertOptions options;
  options.compressed = true;
  options.target_is_zero = true;
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  std::sort(target.started.begin(), target.started.end(),
            [](const auto& a, const auto& b) { return a.offset < b.offset; });
  EXPECT_EQ(target.started, (std::vector<ScriptedDevice::Write>{{65536, 65536, false, true},
                                                                {4 * 65536, 65536, false, true},
                                                                {5 * 65536, 512, false, true}}));
  EXPECT_EQ(target.contents(), bytes);
}

TEST(Convert, OverABackingFileOnlyTheUppermostLayerIsCopied) {
  const auto bytes = test::pattern(0, 65536, 1);
  ScriptedDevice source(bytes);
  source.scripted_extents = {test::absent_extent(0, 16384), test::data_extent(16384, 16384),
                             test::zero_extent(32768, 32768)};
  ScriptedDevice target(65536);
  ConvertOptions options;
  options.top_layer_only = true;
  options.backing_size = 49152;
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  EXPECT_EQ(target.started, (std::vector<ScriptedDevice::Write>{{16384, 16384, false, false},
                                                                {32768, 16384, true, false}}));
}

TEST(Convert, AFailedReadNamesTheStartOfItsSegment) {
  const auto bytes = test::pattern(0, kSize, 1);
  faults::FaultDevice source(std::make_unique<MemoryDevice>(ConstBytes(bytes)));
  source.add_rule({.operation = faults::Operation::kRead, .offset = 5 << 20, .length = 1});
  MemoryDevice target(kSize);
  EXPECT_THAT(failure_of(convert({&source}, target, {}, nullptr, nullptr)),
              testing::StartsWith("cannot read from offset 4194304: "));
  EXPECT_EQ(target.get(0, 4 << 20), test::pattern(0, 4 << 20, 1)) << "what stands before it";
}

TEST(Convert, OfSeveralFailuresTheLowestIsReported) {
  const auto bytes = test::pattern(0, 16 << 20, 1);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    faults::FaultDevice source(std::make_unique<MemoryDevice>(ConstBytes(bytes)));
    faults::FaultDevice target(std::make_unique<MemoryDevice>(16 << 20));
    source.set_delays(seed, 9);
    target.set_delays(seed + 50, 9);
    target.add_rule({.operation = faults::Operation::kWrite,
                     .count = UINT64_MAX,
                     .errno_value = ENOSPC,
                     .offset = 6 << 20});
    Loop loop({.seed = seed});
    EXPECT_THAT(failure_of(convert({&source}, target, {}, nullptr, nullptr)),
                testing::StartsWith("cannot write to offset 6291456: "));
  }
}

TEST(Convert, AStateThatCannotBeReadIsAFailureOfItsOwn) {
  faults::FaultDevice source(std::make_unique<MemoryDevice>(kSize));
  source.add_rule({.operation = faults::Operation::kExtents});
  MemoryDevice target(kSize);
  EXPECT_THAT(failure_of(convert({&source}, target, {}, nullptr, nullptr)),
              testing::StartsWith("cannot see what the source has at offset 0: "));
}

TEST(Convert, AFailedFlushIsAFailure) {
  MemoryDevice source(kSize);
  faults::FaultDevice target(std::make_unique<MemoryDevice>(kSize));
  target.add_rule({.operation = faults::Operation::kFlush});
  EXPECT_NE(failure_of(convert({&source}, target, {}, nullptr, nullptr)), "none");
}

TEST(Convert, TheDiskBeginsToWriteBeforeTheCopyEnds) {
  for (const unsigned in_flight : {1u, 8u}) {
    const auto bytes = test::pattern(0, 40 << 20, 1);
    MemoryDevice source{ConstBytes(bytes)};
    ScriptedDevice target(bytes.size());
    ConvertOptions options;
    options.in_flight = in_flight;
    sync_wait(convert({&source}, target, options, nullptr, nullptr));
    EXPECT_GE(target.flushes_started, 2) << in_flight;
    EXPECT_LE(target.flushes_started, 5) << in_flight;
    EXPECT_EQ(target.flushes, 1);
  }
  MemoryDevice zeroes(40 << 20);
  ScriptedDevice target(40 << 20);
  sync_wait(convert({&zeroes}, target, {}, nullptr, nullptr));
  EXPECT_EQ(target.flushes_started, 0);
}

TEST(Convert, SalvagingTellsOfEverySectorAndMakesItZero) {
  auto bytes = test::pattern(0, 4 << 20, 1);
  faults::FaultDevice source(std::make_unique<MemoryDevice>(ConstBytes(bytes)));
  source.add_rule({.operation = faults::Operation::kRead,
                   .count = UINT64_MAX,
                   .offset = 70000,
                   .length = 1000});
  MemoryDevice target(4 << 20);
  ConvertOptions options;
  options.salvage = true;
  std::vector<uint64_t> lost;
  options.on_unreadable = [&lost](uint64_t offset, const Error& error) {
    EXPECT_EQ(error.errno_value(), EIO);
    lost.push_back(offset);
  };
  sync_wait(convert({&source}, target, options, nullptr, nullptr));
  EXPECT_EQ(lost, (std::vector<uint64_t>{69632, 70144, 70656}));
  std::fill(bytes.begin() + 69632, bytes.begin() + 71168, 0);
  EXPECT_EQ(target.get(0, bytes.size()), bytes);
}

struct CancelAt : Progress {
  void update(uint64_t done, uint64_t) override {
    if (done >= limit) cancellation.request();
  }
  uint64_t limit = 0;
  Cancellation cancellation;
};

TEST(Convert, StopsSoonAfterItWasAskedTo) {
  const auto bytes = test::pattern(0, 64 << 20, 1);
  MemoryDevice source{ConstBytes(bytes)};
  ScriptedDevice target(bytes.size());
  CancelAt cancel;
  cancel.limit = 4 << 20;
  ConvertOptions options;
  options.in_flight = 2;
  try {
    sync_wait(convert({&source}, target, options, &cancel, &cancel.cancellation));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
  uint64_t written = 0;
  for (const ScriptedDevice::Write& write : target.started) written += write.length;
  EXPECT_LE(written, uint64_t{6} << 20);
}

struct Record : Progress {
  void update(uint64_t done, uint64_t total) override { calls.emplace_back(done, total); }
  std::vector<std::pair<uint64_t, uint64_t>> calls;
};

TEST(Convert, ProgressCountsWhatHasToBeDoneInOrder) {
  MemoryDevice source(kSize);
  source.put(0, test::pattern(0, 4 << 20, 1));
  MemoryDevice target(kSize);
  ConvertOptions options;
  options.target_is_zero = true;
  Record record;
  sync_wait(convert({&source}, target, options, &record, nullptr));
  ASSERT_GE(record.calls.size(), 2u);
  EXPECT_TRUE(std::ranges::is_sorted(record.calls));
  EXPECT_GT(record.calls.front().first, 0u);
  for (const auto& [done, total] : record.calls) EXPECT_EQ(total, uint64_t{4} << 20);
  EXPECT_EQ(record.calls.back().first, uint64_t{4} << 20);
}

struct Unwatched : Record {
  bool is_watched() const override { return false; }
};

TEST(Convert, TheSourceIsWalkedBeforeTheCopyOnlyWhereSomebodyWatches) {
  Record watched;
  Unwatched unwatched;
  std::vector<uint64_t> walks;
  for (Record* const progress : {&watched, static_cast<Record*>(&unwatched)}) {
    auto memory = std::make_unique<MemoryDevice>(kSize);
    memory->put(0, test::pattern(0, 4 << 20, 1));
    faults::FaultDevice source(std::move(memory));
    MemoryDevice target(kSize);
    ConvertOptions options;
    options.target_is_zero = true;
    sync_wait(convert({&source}, target, options, progress, nullptr));
    walks.push_back(source.count(faults::Operation::kExtents));
  }
  EXPECT_EQ(walks[0], 2 * walks[1]);
  // It counts how far the copy has come.
  ASSERT_FALSE(unwatched.calls.empty());
  EXPECT_TRUE(std::ranges::is_sorted(unwatched.calls));
  for (const auto& [done, total] : unwatched.calls) EXPECT_EQ(total, kSize);
  EXPECT_EQ(unwatched.calls.back().first, kSize);
}

TEST(Convert, ARateLimitIsKept) {
  const auto bytes = test::pattern(0, 8 << 20, 1);
  MemoryDevice source{ConstBytes(bytes)};
  MemoryDevice target(bytes.size());
  ConvertOptions options;
  options.bytes_per_second = 1 << 20;
  Loop loop({.seed = 3});
  const auto start = loop.now();
  loop.run(convert({&source}, target, options, nullptr, nullptr));
  EXPECT_EQ(loop.now() - start,
            std::chrono::milliseconds(7500));  // nothing waits for the last piece
}

}  // namespace
}  // namespace byre::jobs
