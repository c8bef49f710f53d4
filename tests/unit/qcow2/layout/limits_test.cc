// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/limits.h"

#include <gtest/gtest.h>

namespace byre::qcow2::layout::limits {
namespace {

// Numbers that are stated in the text of the specification or by qemu-img 10.0.2.
TEST(Limits, AreTheNumbersThatAreWrittenElsewhere) {
  EXPECT_EQ(kClusterSizeMax, 2 * kMiB);
  EXPECT_EQ(kL1EntriesMax, 4194304u);
  EXPECT_EQ(kRefcountTableEntriesMax, 1048576u);
  EXPECT_EQ(kSnapshotTableSizeMax, 64 * kMiB);
  EXPECT_EQ(kBitmapDirectorySizeMax, 67107840u);  // in qemu-img's message
  EXPECT_EQ(kHostOffsetEnd, uint64_t{64} << 50);  // 64 PB
  EXPECT_EQ(kDeviceSizeMax, 0x7fffffffc0000000u);
}

}  // namespace
}  // namespace byre::qcow2::layout::limits
