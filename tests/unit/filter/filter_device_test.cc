// SPDX-License-Identifier: Apache-2.0
#include "filter/filter_device.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>

#include "async/loop.h"
#include "byre/error.h"
#include "filter/borrowed_device.h"
#include "filter/compress_device.h"
#include "filter/copy_on_read_device.h"
#include "storage/memory_device.h"
#include "storage/null_device.h"
#include "testing/fault_device.h"

namespace byre::filter {
namespace {

class Plain final : public FilterDevice {
 public:
  explicit Plain(std::unique_ptr<BlockDevice> below) : FilterDevice(std::move(below)) {}
  const char* driver() const override { return "plain"; }
};

std::unique_ptr<BlockDevice> memory() {
  return std::make_unique<storage::MemoryDevice>(65536);
}

TEST(FilterDevice, AFilterThatSaysNothingHasTheDeviceBelowAsItsChild) {
  auto below = memory();
  BlockDevice* const leaf = below.get();
  Plain filter(std::move(below));
  ASSERT_EQ(filter.children().size(), 1u);
  EXPECT_STREQ(filter.children()[0].name, "file");
  EXPECT_EQ(&leaf_of(filter), leaf);
  faults::FaultDevice fault(memory());
  EXPECT_STREQ(leaf_of(fault).driver(), "memory");
}

// The error of a request after close(), 0 for none.
int error_of(const std::function<Task<void>()>& request) {
  try {
    sync_wait(request());
    return 0;
  } catch (const Error& error) {
    return error.errno_value();
  }
}

void expect_refusals(BlockDevice& device) {
  SCOPED_TRACE(device.driver());
  std::vector<uint8_t> bytes(512);
  const ReadBuffers vector{Bytes(bytes)};
  const std::function<Task<void>()> requests[] = {
      [&] { return device.read(0, vector); },
      [&] { return device.write(0, vector); },
      [&] { return device.write_zeroes(0, 512, WriteFlags::kNone); },
      [&] { return device.discard(0, 512); },
      [&] { return device.flush(); },
      [&] { return device.start_flush(); },
      [&] { return device.resize(65536, Preallocation::kOff); },
  };
  for (size_t i = 0; i < std::size(requests); ++i) EXPECT_EQ(error_of(requests[i]), EBADF) << i;
  EXPECT_THROW(sync_wait(device.extents(0, 512, ExtentScope::kLayer)), Error);
  EXPECT_EQ(error_of([&] { return device.close(); }), 0);
}

TEST(FilterDevice, NoDeviceTakesRequestsAfterItWasClosed) {
  std::vector<std::unique_ptr<BlockDevice>> devices;
  devices.push_back(memory());
  devices.push_back(std::make_unique<storage::NullDevice>(storage::NullOptions{.writable = true}));
  devices.push_back(std::make_unique<Plain>(memory()));
  devices.push_back(std::make_unique<faults::FaultDevice>(memory()));
  devices.push_back(std::make_unique<CopyOnReadDevice>(memory(), ""));
  for (const auto& device : devices) {
    sync_wait(device->close());
    expect_refusals(*device);
  }
}

TEST(FilterDevice, ABorrowedDeviceIsClosedForItsBorrowerAlone) {
  const auto owner = memory();
  BorrowedDevice borrowed(*owner);
  sync_wait(borrowed.close());
  expect_refusals(borrowed);
  EXPECT_EQ(error_of([&] { return owner->flush(); }), 0);
}

}  // namespace
}  // namespace byre::filter
