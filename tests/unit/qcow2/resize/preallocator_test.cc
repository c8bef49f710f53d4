// SPDX-License-Identifier: Apache-2.0
#include "qcow2/resize/preallocator.h"

#include "filter/filter_device.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

// Preallocated clusters on devices that hold old bytes.
namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kDeviceSize = 8 * kMiB;

// A device of fixed size over a MemoryDevice that it does not own.
class Partition final : public BlockDevice {
 public:
  explicit Partition(storage::MemoryDevice* bytes) : bytes_(bytes) {}
  const std::string& filename() const override { return bytes_->filename(); }
  const char* driver() const override { return "partition"; }
  uint64_t size() const override { return bytes_->size(); }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return false; }
  Task<void> do_read(uint64_t offset, ReadBuffers to) override { return bytes_->read(offset, to); }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    return bytes_->write(offset, from, flags);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    ++zeroes;
    return bytes_->write_zeroes(offset, length, flags);
  }
  Task<void> do_discard(uint64_t, uint64_t) override { co_return; }
  Task<void> do_flush() override { co_return; }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override {
    return bytes_->extents(offset, length, scope);
  }
  Task<void> do_resize(uint64_t, Preallocation) override {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, "a partition has its size");
    co_return;
  }
  Task<void> do_close() override { co_return; }

  uint64_t zeroes = 0;

 private:
  storage::MemoryDevice* bytes_;
  Limits limits_;
};

class PreallocatorTest : public testing::Test {
 protected:
  PreallocatorTest() {
    const std::vector<uint8_t> old(kDeviceSize, 0xaa);
    bytes_.put(0, old);
    data_bytes_.put(0, old);
  }
  void create(const CreateOptions& options) {
    Partition file(&bytes_);
    Partition data(&data_bytes_);
    loop_.run(qcow2::create(file, options.data_filename ? &data : nullptr, options));
  }
  void open(bool has_data_file) {
    image_ = loop_.run(Image::open(std::make_unique<Partition>(&bytes_), for_writing()));
    if (has_data_file) image_->set_data_file(std::make_unique<Partition>(&data_bytes_));
  }
  void expect_zero_and_sound() {
    const std::vector<uint8_t> all = loop_.run(read_all(image_.get()));
    EXPECT_EQ(first_difference(all, std::vector<uint8_t>(all.size())), std::nullopt);
    const std::vector<uint8_t> bytes = pattern(0, 512, 1);
    loop_.run(
        image_->write(3 * kCluster + 512, WriteBuffers(ConstBytes(bytes)), WriteFlags::kNone));
    std::vector<uint8_t> around(3 * 512);
    loop_.run(image_->read(3 * kCluster, Bytes(around)));
    std::vector<uint8_t> expected(3 * 512);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + 512);
    EXPECT_EQ(around, expected);
    loop_.run(image_->close());
    Disks disks;
    disks.file = bytes_.clone();
    expect_sound(disks, false);
  }

  Loop loop_;
  storage::MemoryDevice bytes_{0, "partition"};
  storage::MemoryDevice data_bytes_{0, "data"};
  std::unique_ptr<Image> image_;
};

TEST_F(PreallocatorTest, ANewImageReadsAsZeroesOnADeviceWithOldData) {
  for (const int version : {2, 3}) {
    for (const bool extended : {false, true}) {
      if (version == 2 && extended) continue;
      CreateOptions options;
      options.size = 4 * kMiB;
      options.version = version;
      options.extended_l2 = extended;
      options.preallocation = Preallocation::kMetadata;
      create(options);
      open(false);
      const std::vector<Extent> extents =
          loop_.run(image_->extents(0, options.size, ExtentScope::kLayer));
      EXPECT_TRUE(extents.front().host_offset.has_value());
      expect_zero_and_sound();
    }
  }
}

TEST_F(PreallocatorTest, ANewImageReadsAsZeroesIfItsDataFileIsADevice) {
  CreateOptions options;
  options.size = 4 * kMiB;
  options.data_filename = "data";
  options.preallocation = Preallocation::kMetadata;
  create(options);
  open(true);
  const std::vector<uint8_t> all = loop_.run(read_all(image_.get()));
  EXPECT_EQ(first_difference(all, std::vector<uint8_t>(all.size())), std::nullopt);
  loop_.run(image_->close());
}

// A raw data file is the guest's disk as it is.
TEST_F(PreallocatorTest, ARawDataFileShowsItsOldData) {
  CreateOptions options;
  options.size = 4 * kMiB;
  options.data_filename = "data";
  options.data_file_raw = true;
  options.preallocation = Preallocation::kMetadata;
  create(options);
  open(true);
  const std::vector<uint8_t> all = loop_.run(read_all(image_.get()));
  EXPECT_EQ(first_difference(all, std::vector<uint8_t>(all.size(), 0xaa)), std::nullopt);
  loop_.run(image_->close());
}

TEST_F(PreallocatorTest, TheNewPartOfAGrownDiskReadsAsZeroes) {
  for (const int version : {2, 3}) {
    CreateOptions options;
    options.size = kCluster;
    options.version = version;
    create(options);
    open(false);
    loop_.run(image_->resize(4 * kMiB, Preallocation::kMetadata));
    const std::vector<Extent> extents =
        loop_.run(image_->extents(kCluster, kCluster, ExtentScope::kLayer));
    EXPECT_TRUE(extents.front().host_offset.has_value());
    expect_zero_and_sound();
  }
}

// The device has room for the new clusters only in its holes.
TEST_F(PreallocatorTest, AGrownDiskOnADeviceUsesItsHoles) {
  CreateOptions options;
  options.size = kDeviceSize;
  create(options);
  open(false);
  const std::vector<uint8_t> data(kCluster, 0x55);
  for (uint64_t at = 0;; at += kCluster) {
    try {
      loop_.run(image_->write(at, ConstBytes(data)));
    } catch (const Error&) {
      break;
    }
  }
  for (uint64_t at = 0; at < 64 * kCluster; at += 2 * kCluster) {
    loop_.run(image_->discard(at, kCluster));
  }
  loop_.run(image_->resize(kDeviceSize + 20 * kCluster, Preallocation::kMetadata));
  const Extent last =
      loop_.run(image_->extents(kDeviceSize + 19 * kCluster, kCluster, ExtentScope::kLayer))
          .front();
  EXPECT_TRUE(last.host_offset.has_value());
  EXPECT_TRUE(last.zero);
  loop_.run(image_->close());
  Disks disks;
  disks.file = bytes_.clone();
  expect_sound(disks, false);
}

TEST_F(PreallocatorTest, OnlyTablesAreWrittenInVersionThree) {
  CreateOptions options;
  options.size = 4 * kMiB;
  options.preallocation = Preallocation::kMetadata;
  create(options);
  open(false);
  const Extent first = loop_.run(image_->extents(0, kCluster, ExtentScope::kLayer)).front();
  EXPECT_EQ(bytes_.get(*first.host_offset, kCluster), std::vector<uint8_t>(kCluster, 0xaa));
  loop_.run(image_->close());
}

}  // namespace
}  // namespace byre::qcow2::test
