// SPDX-License-Identifier: Apache-2.0
#include "qcow2/resize/emptying.h"

#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = kMiB;

class EmptyingTest : public WritingTest {
 protected:
  void empty() { loop_.run(image().make_empty()); }
};

TEST_F(EmptyingTest, TheBackingFileShowsThrough) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.backing_filename = "backing";
  layout.create.backing_format = "raw";
  layout.backing_size = kSize;
  open(layout);
  write(0, pattern(0, kSize / 2, 1));
  zero(kSize / 2, kSize / 4);
  write(kSize - kCluster, compressible(0, kCluster, 3), WriteFlags::kCompressed);
  flush();
  const uint64_t used = opened_.file->size();
  empty();
  EXPECT_EQ(read(0, kSize), backing_bytes(kSize));
  EXPECT_LT(opened_.file->size(), used / 2);
  write(0, pattern(0, 2 * kCluster, 4));
  EXPECT_EQ(read(0, 2 * kCluster), pattern(0, 2 * kCluster, 4));
  close_and_check();
}

TEST_F(EmptyingTest, SnapshotsStay) {
  open(layout_of(kSize, kCluster));
  const std::vector<uint8_t> bytes = pattern(0, kSize, 1);
  write(0, bytes);
  NewSnapshot snapshot;
  snapshot.name = "before";
  loop_.run(image().create_snapshot(snapshot));
  write(0, pattern(0, kSize / 2, 2));
  empty();
  EXPECT_EQ(read(0, kSize), std::vector<uint8_t>(kSize));
  flush();
  EXPECT_EQ(read_snapshot(), bytes);
  close_and_check();
}

TEST_F(EmptyingTest, OnlyTheDiskIsEmptied) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kSize, 1));
  const std::vector<uint8_t> state = pattern(0, 100'000, 2);
  loop_.run(image().write_vm_state(0, ConstBytes(state)));
  empty();
  std::vector<uint8_t> found(state.size());
  loop_.run(image().read_vm_state(0, Bytes(found)));
  EXPECT_EQ(found, state);
  close_and_check();
}

TEST_F(EmptyingTest, WithADataFile) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.data_filename = "data";
  open(layout);
  write(0, pattern(0, kSize, 1));
  empty();
  EXPECT_EQ(read(0, kSize), std::vector<uint8_t>(kSize));
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
