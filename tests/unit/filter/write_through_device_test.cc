// SPDX-License-Identifier: Apache-2.0
#include "filter/write_through_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"

namespace byre::filter {
namespace {

class WriteThrough : public testing::Test {
 protected:
  WriteThrough() {
    auto disk =
        std::make_unique<faults::FaultDevice>(std::make_unique<storage::MemoryDevice>(4096));
    disk_ = disk.get();
    device_ = std::make_unique<WriteThroughDevice>(std::move(disk));
  }
  // The names of the requests that reached the disk, with "+fua" if that was requested.
  std::vector<std::string> requests() {
    std::vector<std::string> names;
    for (const faults::FaultEvent& event : disk_->events()) {
      names.push_back(operation_name(event.operation));
      if (has_flag(event.flags, WriteFlags::kFua)) names.back() += "+fua";
    }
    disk_->clear_events();
    return names;
  }

  faults::FaultDevice* disk_;
  std::unique_ptr<WriteThroughDevice> device_;
};

TEST_F(WriteThrough, EveryChangeIsDurableBeforeItIsDone) {
  const std::vector<uint8_t> bytes(512, 1);
  sync_wait(device_->write(0, ConstBytes(bytes)));
  EXPECT_THAT(requests(), testing::ElementsAre("write+fua"));
  sync_wait(device_->write_zeroes(0, 512, WriteFlags::kMayUnmap));
  EXPECT_THAT(requests(), testing::ElementsAre("write_zeroes+fua"));
  sync_wait(device_->discard(0, 512));
  EXPECT_THAT(requests(), testing::ElementsAre("discard", "flush"));
  sync_wait(device_->resize(8192, Preallocation::kOff));
  EXPECT_THAT(requests(), testing::ElementsAre("resize", "flush"));
}

TEST_F(WriteThrough, ReadsPassAsTheyAre) {
  std::vector<uint8_t> bytes(512);
  sync_wait(device_->read(0, Bytes(bytes)));
  EXPECT_THAT(requests(), testing::ElementsAre("read"));
}

TEST_F(WriteThrough, ADiscardWhoseFlushFailsFails) {
  disk_->add_rule({.operation = faults::Operation::kFlush});
  EXPECT_THROW(sync_wait(device_->discard(0, 512)), Error);
}

TEST_F(WriteThrough, ItIsTheDeviceBelowInEverythingElse) {
  EXPECT_EQ(device_->driver(), std::string("memory"));
  EXPECT_EQ(device_->size(), 4096u);
  EXPECT_EQ(device_->filename(), "memory");
  ASSERT_EQ(device_->children().size(), 1u);
  EXPECT_EQ(device_->children()[0].device, disk_->children()[0].device);
  EXPECT_EQ(&device_->itself(), disk_);
}

}  // namespace
}  // namespace byre::filter
