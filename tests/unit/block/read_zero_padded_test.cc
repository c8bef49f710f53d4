// SPDX-License-Identifier: Apache-2.0
#include "block/read_zero_padded.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre {
namespace {

using byre::test::pattern;

TEST(PaddedRead, GivesZeroesPastTheEnd) {
  const std::vector<uint8_t> contents = pattern(0, 1000, 1);
  faults::FaultDevice device(std::make_unique<storage::MemoryDevice>(ConstBytes(contents)));
  for (const uint64_t offset : {uint64_t{0}, uint64_t{900}, uint64_t{999}, uint64_t{1000},
                                uint64_t{1001}, UINT64_MAX - 50}) {
    std::vector<uint8_t> bytes(200, 0xee);
    sync_wait(read_zero_padded(&device, offset, Bytes(bytes)));
    for (size_t i = 0; i < bytes.size(); ++i) {
      const bool inside = offset < 1000 && offset + i < 1000;
      ASSERT_EQ(bytes[i], inside ? contents[offset + i] : 0) << offset << " " << i;
    }
  }
  // What lies past the end altogether is not asked for.
  EXPECT_EQ(device.count(faults::Operation::kRead), 3u);
}

}  // namespace
}  // namespace byre
