// SPDX-License-Identifier: Apache-2.0
#include "jobs/source_sequence.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "unit/jobs/scripted_device.h"
#include "unit/support/pattern.h"

namespace byre::jobs {
namespace {

TEST(SourceSequence, ImagesAreReadOneBehindTheOtherAsWholeSectors) {
  const auto a = test::pattern(0, 1000, 1);
  const auto b = test::pattern(0, 4096, 2);
  storage::MemoryDevice first{ConstBytes(a)};
  storage::MemoryDevice empty(0);
  storage::MemoryDevice second{ConstBytes(b)};
  const SourceSequence source({&first, &empty, &second});
  EXPECT_EQ(source.size(), 1024u + 4096u);
  std::vector<uint8_t> expected = a;
  expected.resize(1024, 0);
  expected.insert(expected.end(), b.begin(), b.end());
  for (const size_t step : {1u, 7u, 512u, 1000u, 5120u}) {
    std::vector<uint8_t> got(source.size(), 0xee);
    for (size_t at = 0; at < got.size(); at += step) {
      sync_wait(source.read(at, Bytes(got).subspan(at, std::min(step, got.size() - at))));
    }
    EXPECT_EQ(got, expected) << step;
  }
}

TEST(SourceSequence, ExtentsCountFromTheStartOfTheSequenceAndCoverTheLastSector) {
  const auto a = test::pattern(0, 4196, 1);
  storage::MemoryDevice first{ConstBytes(a)};
  storage::MemoryDevice second(8192);
  const SourceSequence source({&first, &second});
  EXPECT_EQ(source.size(), 4608u + 8192u);
  uint64_t at = 0;
  while (at < source.size()) {
    const std::vector<Extent> extents =
        sync_wait(source.extents(at, source.size() - at, ExtentScope::kChain));
    ASSERT_FALSE(extents.empty());
    for (const Extent& extent : extents) {
      EXPECT_EQ(extent.offset, at);
      EXPECT_EQ(extent.zero, at >= 4608) << at;
      at += extent.length;
    }
  }
  EXPECT_EQ(at, source.size());
}

TEST(SourceSequence, TheBytesBehindAnImagesEndInItsLastSectorAreZero) {
  test::ScriptedDevice device(1000);
  device.scripted_extents = {test::data_extent(0, 1000)};
  const SourceSequence source({&device});
  const auto extents = sync_wait(source.extents(1000, 24, ExtentScope::kChain));
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_TRUE(extents[0].zero);
  EXPECT_EQ(extents[0].length, 24u);
  EXPECT_TRUE(sync_wait(source.extents(0, 0, ExtentScope::kChain)).empty());
}

TEST(SourceSequence, ImagesThatAreTooLargeTogetherAreRefused) {
  storage::MemoryDevice half(uint64_t{1} << 62);
  EXPECT_THROW(SourceSequence({&half, &half}), Error);
  EXPECT_EQ(SourceSequence({&half}).size(), uint64_t{1} << 62);
}

}  // namespace
}  // namespace byre::jobs
