// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "filter/borrowed_device.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 4 * kMiB;

class ImageSnapshotTest : public WritingTest {
 protected:
  void snapshot(const std::string& name, uint64_t vm_state_size = 0) {
    NewSnapshot snapshot;
    snapshot.name = name;
    snapshot.vm_state_size = vm_state_size;
    loop_.run(image().create_snapshot(snapshot));
  }
  // Opens the files as they are now for reading.
  void reopen() { reader_ = loop_.run(open_disks(opened_.snapshot(), {}, {})); }
  std::unique_ptr<Image> state(size_t index) {
    auto file = std::make_unique<filter::BorrowedDevice>(reader_.image->file());
    return loop_.run(reader_.image->open_snapshot(index, std::move(file)));
  }
  Image::Sharing sharing(const Image& one, const Image& other, uint64_t offset) {
    return loop_.run(one.sharing_with(other, offset, one.size() - offset));
  }

  OpenImage reader_;
};

TEST_F(ImageSnapshotTest, ASnapshotIsADiskWithItsSizeAndVmState) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kMiB, 1));
  const std::vector<uint8_t> before = read(0, kSize);
  const std::vector<uint8_t> vm_state = pattern(0, 10'000, 3);
  loop_.run(image().write_vm_state(0, ConstBytes(vm_state)));
  snapshot("one", vm_state.size());
  loop_.run(image().resize(2 * kSize, Preallocation::kOff));
  write(kMiB / 2, pattern(0, 2 * kSize - kMiB / 2, 2));
  flush();
  reopen();
  const std::unique_ptr<Image> one = state(0);
  EXPECT_EQ(one->size(), kSize);
  EXPECT_EQ(loop_.run(read_all(one.get())), before);
  std::vector<uint8_t> found(vm_state.size());
  loop_.run(one->read_vm_state(0, Bytes(found)));
  EXPECT_EQ(found, vm_state);
  loop_.run(one->close());
  EXPECT_EQ(reader_.image->size(), 2 * kSize);
  loop_.run(reader_.image->close());
  close_and_check();
}

TEST_F(ImageSnapshotTest, TheDiskKeepsNoVmState) {
  open(layout_of(kSize, kCluster));
  const std::vector<uint8_t> vm_state = pattern(0, 10'000, 3);
  loop_.run(image().write_vm_state(0, ConstBytes(vm_state)));
  snapshot("one", vm_state.size());
  std::vector<uint8_t> found(vm_state.size());
  loop_.run(image().read_vm_state(0, Bytes(found)));
  EXPECT_EQ(found, std::vector<uint8_t>(vm_state.size()));
  loop_.run(image().apply_snapshot({.id_or_name = "one"}));
  loop_.run(image().read_vm_state(0, Bytes(found)));
  EXPECT_EQ(found, vm_state);
  close_and_check();
}

TEST_F(ImageSnapshotTest, StatesShareWhatWasNotWrittenInBetween) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kMiB, 1));
  zero(2 * kMiB, kMiB);
  snapshot("one");
  write(64 * kKiB, pattern(0, 32 * kKiB, 2));
  snapshot("two");
  flush();
  reopen();
  const std::unique_ptr<Image> one = state(0);
  const std::unique_ptr<Image> two = state(1);
  const Image::Sharing first = sharing(*two, *one, 0);
  EXPECT_TRUE(first.is_same);
  EXPECT_EQ(first.length, 64 * kKiB);
  const Image::Sharing second = sharing(*two, *one, 64 * kKiB);
  EXPECT_FALSE(second.is_same);
  EXPECT_LE(second.length, 32 * kKiB);
  EXPECT_TRUE(sharing(*two, *one, 96 * kKiB).is_same);
  const Image::Sharing all = sharing(*reader_.image, *two, 0);
  EXPECT_TRUE(all.is_same);
  for (const auto& image : {one.get(), two.get()}) loop_.run(image->close());
  loop_.run(reader_.image->close());
  close_and_check();
}

TEST_F(ImageSnapshotTest, ADiskSizeThatNoDiskCanHaveIsRefused) {
  open(layout_of(kSize, kCluster));
  snapshot("one");
  flush();
  reopen();
  reader_.parts->snapshots.front().disk_size = uint64_t{1} << 62;
  const Error error = refusal([&] { state(0); });
  EXPECT_EQ(error.data().code, "qcow2-snapshot-disk-size-invalid");
  loop_.run(reader_.image->close());
  close_and_check();
}

TEST_F(ImageSnapshotTest, ACopiedSnapshotKeepsItsIdAndItsExtraData) {
  open(layout_of(kSize, kCluster));
  NewSnapshot copied;
  copied.id = "seven";
  copied.name = std::string(1000, 'x');
  copied.unknown_extra_data = {1, 2, 3};
  loop_.run(image().create_snapshot(copied));
  flush();
  reopen();
  const layout::Snapshot& found = reader_.image->snapshots().front();
  EXPECT_EQ(found.id, "seven");
  EXPECT_EQ(found.name, copied.name);
  EXPECT_EQ(found.unknown_extra_data, copied.unknown_extra_data);
  loop_.run(reader_.image->close());
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
