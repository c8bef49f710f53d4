// SPDX-License-Identifier: Apache-2.0
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

class VmState : public WritingTest {
 protected:
  void write_state(uint64_t offset, const std::vector<uint8_t>& bytes) {
    loop_.run(image().write_vm_state(offset, ConstBytes(bytes)));
  }
  std::vector<uint8_t> read_state(uint64_t offset, uint64_t length) {
    std::vector<uint8_t> bytes(length, 0xee);
    loop_.run(image().read_vm_state(offset, Bytes(bytes)));
    return bytes;
  }
};

TEST_F(VmState, HoldsWhatWasWrittenAndLeavesTheDiskAlone) {
  for (const uint64_t cluster_size : {uint64_t{512}, uint64_t{65536}}) {
    Layout layout = layout_of(kMiB, cluster_size);
    layout.create.backing_filename = "backing";
    layout.create.backing_format = "raw";
    layout.backing_size = 4 * kMiB;
    open(layout);
    EXPECT_EQ(read_state(0, 4096), std::vector<uint8_t>(4096));
    const std::vector<uint8_t> state = pattern(0, 3 * kMiB, 5);
    write_state(1000, state);
    EXPECT_EQ(first_difference(read_state(1000, 3 * kMiB), state), std::nullopt);
    EXPECT_EQ(read_state(0, 1000), std::vector<uint8_t>(1000));
    EXPECT_EQ(read(0, kMiB), backing_bytes(kMiB));
    flush();
    close_and_check();
    EXPECT_EQ(sync_wait(read_disks(opened_.snapshot(), layout.backing_size)), backing_bytes(kMiB));
    open(opened_.snapshot(), layout);
    EXPECT_EQ(first_difference(read_state(1000, 3 * kMiB), state), std::nullopt);
    close_and_check();
  }
}

TEST_F(VmState, ADiskThatGrowsOverItReadsAsZeroes) {
  open(layout_of(kMiB, 512));
  write_state(0, pattern(0, kMiB, 5));
  loop_.run(image().resize(3 * kMiB, Preallocation::kOff));
  EXPECT_EQ(read(0, 3 * kMiB), std::vector<uint8_t>(3 * kMiB));
  close_and_check();
}

TEST_F(VmState, IsLimitedByTheSizeOfL1Tables) {
  open(layout_of(kMiB, 512));
  const uint64_t room = (uint64_t{4} << 20) * 64 * 512 - kMiB;
  EXPECT_EQ(read_state(room - 512, 512), std::vector<uint8_t>(512));
  EXPECT_EQ(refusal([&] { read_state(room - 511, 512); }).errno_value(), EFBIG);
  EXPECT_EQ(refusal([&] { write_state(room, pattern(0, 512, 1)); }).errno_value(), EFBIG);
  EXPECT_EQ(refusal([&] { write_state(UINT64_MAX, pattern(0, 512, 1)); }).errno_value(), EFBIG);
  close_and_check();
}

TEST_F(VmState, AReadOnlyImageIsOnlyRead) {
  opened_ = loop_.run(open_disks(make_disks(layout_of(kMiB, 512)), {}, {}));
  EXPECT_EQ(read_state(0, 512), std::vector<uint8_t>(512));
  EXPECT_EQ(refusal([&] { write_state(0, pattern(0, 512, 1)); }).kind(), ErrorKind::kPermission);
  loop_.run(image().close());
}

}  // namespace
}  // namespace byre::qcow2::test
