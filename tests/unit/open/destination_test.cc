// SPDX-License-Identifier: Apache-2.0
#include "open/destination.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "unit/open/image_folder_test.h"

namespace byre::open {
namespace {

using storage::HostDriver;

class DestinationTest : public ImageFolderTest {
 protected:
  std::string refusal(const std::string& name) {
    try {
      const auto file = loop_.run(open_destination(destination_of(name), OldContents::kGone));
      loop_.run(file->close());
    } catch (const Error& error) {
      return error.message();
    }
    return "made";
  }

  Loop loop_;
};

constexpr const char* kNoNewDevice =
    "Protocol driver 'host_device' does not support creating new images, so an existing image must "
    "be selected as the target; however, opening the given target as an existing image failed: ";

TEST_F(DestinationTest, ANameSaysWhereItGoes) {
  EXPECT_EQ(destination_of("x").path, "x");
  EXPECT_EQ(destination_of("x").driver, HostDriver::kFile);
  EXPECT_EQ(destination_of("file:x").path, "x");
  EXPECT_EQ(destination_of("file:c:d").path, "c:d");
  EXPECT_EQ(destination_of("./c:d").path, "./c:d");
  EXPECT_EQ(destination_of("host_device:/dev/x").path, "/dev/x");
  EXPECT_EQ(destination_of("host_device:/dev/x").driver, HostDriver::kHostDevice);
  EXPECT_EQ(destination_of("host_cdrom:/dev/x").driver, HostDriver::kHostCdrom);
  EXPECT_EQ(destination_of("/dev/null").driver, HostDriver::kHostDevice);
}

TEST_F(DestinationTest, RefusesWhatCannotBeCreated) {
  EXPECT_EQ(refusal("nbd:x"), "Unknown protocol 'nbd'");
  EXPECT_EQ(refusal("blkdebug::x"), "Protocol driver 'blkdebug' does not support image creation");
  EXPECT_EQ(refusal("null-co://"), "Protocol driver 'null-co' does not support image creation");
  EXPECT_EQ(refusal("host_device:x"),
            std::string(kNoNewDevice) + "Could not open 'x': No such file or directory");
  folder_.make("f", {1});
  EXPECT_EQ(refusal("host_device:f"),
            std::string(kNoNewDevice) + "'f': it is not a device, and the driver is 'host_device'");
  EXPECT_EQ(refusal("file:/dev/null"), "Could not resize file: Invalid argument");
  EXPECT_EQ(refusal("file:nosuch/x"), "Could not create 'nosuch/x': No such file or directory");
}

TEST_F(DestinationTest, AFileIsMadeOrEmptiedAndADeviceStaysAsItIs) {
  folder_.make("old", {1, 2, 3});
  EXPECT_EQ(refusal("file:old"), "made");
  EXPECT_EQ(folder_.contents("old"), std::vector<uint8_t>{});
  EXPECT_EQ(refusal("file:c:d"), "made");
  EXPECT_EQ(folder_.contents("c:d"), std::vector<uint8_t>{});
  EXPECT_EQ(refusal("host_device:/dev/null"), "made");
}

}  // namespace
}  // namespace byre::open
