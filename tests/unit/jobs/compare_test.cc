// SPDX-License-Identifier: Apache-2.0
#include "jobs/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/jobs/scripted_device.h"
#include "unit/support/pattern.h"

namespace byre::jobs {
namespace {

using Kind = CompareResult::Kind;
using storage::MemoryDevice;

CompareResult compare_two(BlockDevice& a, BlockDevice& b, CompareOptions options = {}) {
  return sync_wait(compare(a, b, std::move(options), nullptr, nullptr));
}

constexpr size_t kSize = 9 << 20;

TEST(Compare, EqualImagesAreEqualWhereverTheirHolesAre) {
  const auto bytes = test::pattern(0, 65536, 1);
  MemoryDevice a(kSize);
  MemoryDevice b(kSize);
  a.put(5 << 20, bytes);
  b.put(5 << 20, bytes);
  b.put(1 << 20, std::vector<uint8_t>(65536, 0));
  EXPECT_EQ(compare_two(a, b).kind, Kind::kEqual);
  EXPECT_EQ(compare_two(b, a).kind, Kind::kEqual);
  EXPECT_EQ(compare_two(a, a).kind, Kind::kEqual);
}

TEST(Compare, TheFirstDifferingSectorIsReported) {
  const auto bytes = test::pattern(0, kSize, 1);
  for (const size_t at :
       {size_t{0}, size_t{511}, size_t{512}, size_t{70000}, size_t{2 << 20}, size_t{kSize - 1}}) {
    MemoryDevice a{ConstBytes(bytes)};
    auto changed = bytes;
    changed[at] ^= 1;
    changed[kSize - 1] ^= 2;  // a later difference must not win
    MemoryDevice b{ConstBytes(changed)};
    const CompareResult result = compare_two(a, b);
    EXPECT_EQ(result.kind, Kind::kContentDiffers);
    EXPECT_EQ(result.offset, at / 512 * 512);
  }
}

TEST(Compare, DataAgainstAHoleDiffersWhereItIsNotZero) {
  MemoryDevice a(kSize);
  MemoryDevice b(kSize);
  std::vector<uint8_t> mostly_zero(65536, 0);
  mostly_zero[5000] = 1;
  b.put(1 << 20, mostly_zero);
  const CompareResult result = compare_two(a, b);
  EXPECT_EQ(result.kind, Kind::kContentDiffers);
  EXPECT_EQ(result.offset, (1u << 20) + 4608);
  EXPECT_EQ(compare_two(b, a).offset, (1u << 20) + 4608);
}

TEST(Compare, ALongerImageMayOnlyHaveZeroesMore) {
  const auto bytes = test::pattern(0, 1 << 20, 1);
  MemoryDevice a{ConstBytes(bytes)};
  MemoryDevice b(3 << 20);
  b.put(0, bytes);
  int warned = 0;
  CompareOptions options;
  options.on_size_difference = [&warned] { ++warned; };
  EXPECT_EQ(compare_two(a, b, options).kind, Kind::kEqual);
  EXPECT_EQ(warned, 1);
  b.put((2 << 20) + 1000, std::vector<uint8_t>{9});
  const CompareResult result = compare_two(b, a, options);
  EXPECT_EQ(result.kind, Kind::kContentDiffers);
  EXPECT_EQ(result.offset, (2u << 20) + 512);
  EXPECT_EQ(warned, 2);
  a.put(0, std::vector<uint8_t>{0});
  EXPECT_EQ(compare_two(a, b, options).offset, 0u);
  EXPECT_EQ(warned, 2) << "a difference in the common part comes first";
}

TEST(Compare, StrictModeWantsEqualSizesFirst) {
  MemoryDevice a(1 << 20);
  MemoryDevice b(2 << 20);
  CompareOptions options;
  options.strict = true;
  EXPECT_EQ(compare_two(a, b, options).kind, Kind::kSizeDiffers);
}

TEST(Compare, StrictModeWantsEqualStates) {
  test::ScriptedDevice a(1 << 20);
  test::ScriptedDevice b(1 << 20);
  a.scripted_extents = {test::data_extent(0, 65536), test::zero_extent(65536, (1 << 20) - 65536)};
  b.scripted_extents = a.scripted_extents;
  CompareOptions options;
  options.strict = true;
  EXPECT_EQ(compare_two(a, b, options).kind, Kind::kEqual);
  b.scripted_extents[1] = test::absent_extent(65536, (1 << 20) - 65536);
  EXPECT_EQ(compare_two(a, b).kind, Kind::kEqual);
  const CompareResult result = compare_two(a, b, options);
  EXPECT_EQ(result.kind, Kind::kStateDiffers);
  EXPECT_EQ(result.offset, 65536u);
  // A difference of contents before it comes first.
  a.memory().put(4096, std::vector<uint8_t>{1});
  EXPECT_EQ(compare_two(a, b, options).kind, Kind::kContentDiffers);
}

TEST(Compare, InStrictModeAStateThatLastsToTheEndDiffersFromOneThatDoesNot) {
  test::ScriptedDevice a(1 << 20);
  test::ScriptedDevice b(1 << 20);
  a.scripted_extents = {test::data_extent(0, 65536), test::zero_extent(65536, (1 << 20) - 65536)};
  b.scripted_extents = {test::data_extent(0, 65536), test::zero_extent(65536, 65536),
                        test::data_extent(131072, (1 << 20) - 131072)};
  CompareOptions options;
  options.strict = true;
  EXPECT_EQ(compare_two(a, b, options).offset, 65536u);
  EXPECT_EQ(compare_two(b, a, options).offset, 65536u);
  EXPECT_EQ(compare_two(b, a, options).kind, Kind::kStateDiffers);
  // Split into more pieces it is still the same state.
  b.scripted_extents = {test::data_extent(0, 65536), test::zero_extent(65536, 65536),
                        test::zero_extent(131072, (1 << 20) - 131072)};
  EXPECT_EQ(compare_two(a, b, options).kind, Kind::kEqual);
}

TEST(Compare, SizesCountInWholeSectors) {
  MemoryDevice a(1000);
  MemoryDevice b(1024);
  CompareOptions options;
  options.on_size_difference = [] { ADD_FAILURE(); };
  EXPECT_EQ(compare_two(a, b, options).kind, Kind::kEqual);
  MemoryDevice nothing(0);
  EXPECT_EQ(compare_two(nothing, nothing).kind, Kind::kEqual);
}

TEST(Compare, AFailedReadNamesItsPlaceAndItsImage) {
  const auto bytes = test::pattern(0, kSize, 1);
  MemoryDevice a{ConstBytes(bytes)};
  faults::FaultDevice b(std::make_unique<MemoryDevice>(ConstBytes(bytes), "bad.img"));
  b.add_rule({.operation = faults::Operation::kRead, .offset = 5 << 20, .length = 1});
  try {
    compare_two(a, b);
    ADD_FAILURE();
  } catch (const CompareError& error) {
    EXPECT_EQ(error.stage(), CompareError::Stage::kRead);
    EXPECT_EQ(error.data().code, "compare-read-failed");
    EXPECT_EQ(error.data().file, "bad.img");
    EXPECT_THAT(error.message(),
                testing::StartsWith("'bad.img': cannot read from offset 4194304: 'bad.img': "));
  }
}

TEST(Compare, ADifferenceBeforeAFailureIsTheAnswer) {
  const auto bytes = test::pattern(0, kSize, 1);
  MemoryDevice a{ConstBytes(bytes)};
  a.put(100, std::vector<uint8_t>{0});
  faults::FaultDevice b(std::make_unique<MemoryDevice>(ConstBytes(bytes)));
  b.add_rule({.operation = faults::Operation::kRead, .offset = 5 << 20, .length = 1});
  EXPECT_EQ(compare_two(a, b).kind, Kind::kContentDiffers);
}

TEST(Compare, ExtentsThatCannotBeReadAreAFailureOfTheirOwn) {
  MemoryDevice a(1 << 20);
  faults::FaultDevice b(std::make_unique<MemoryDevice>(1 << 20, "bad.img"));
  b.add_rule({.operation = faults::Operation::kExtents});
  try {
    compare_two(a, b);
    ADD_FAILURE();
  } catch (const CompareError& error) {
    EXPECT_EQ(error.stage(), CompareError::Stage::kExtents);
    EXPECT_EQ(error.data().code, "compare-extents-unreadable");
    EXPECT_THAT(error.message(),
                testing::StartsWith("'bad.img': cannot see what the image has at offset 0: "));
  }
}

TEST(Compare, TheAnswerDoesNotDependOnWhichReadEndsFirst) {
  const auto bytes = test::pattern(0, kSize, 1);
  auto changed = bytes;
  changed[3 << 20] ^= 1;
  changed[7 << 20] ^= 1;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    faults::FaultDevice a(std::make_unique<MemoryDevice>(ConstBytes(bytes)));
    faults::FaultDevice b(std::make_unique<MemoryDevice>(ConstBytes(changed)));
    a.set_delays(seed, 9);
    b.set_delays(seed + 100, 9);
    Loop loop({.seed = seed});
    const CompareResult result = loop.run(compare(a, b, {}, nullptr, nullptr));
    EXPECT_EQ(result.offset, 3u << 20);
  }
}

TEST(Compare, StopsWhenAskedTo) {
  MemoryDevice a(1 << 20);
  Cancellation cancellation;
  cancellation.request();
  EXPECT_THROW(sync_wait(compare(a, a, {}, nullptr, &cancellation)), Error);
}

}  // namespace
}  // namespace byre::jobs
