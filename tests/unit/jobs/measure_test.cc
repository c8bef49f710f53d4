// SPDX-License-Identifier: Apache-2.0
#include "jobs/measure.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"
#include "unit/jobs/scripted_device.h"

namespace byre::jobs {
namespace {

// The numbers are those of qemu-img 10.0.2.

Extent extent(uint64_t offset, uint64_t length, bool data, bool zero) {
  Extent result;
  result.offset = offset;
  result.length = length;
  result.present = data;
  result.data = data;
  result.zero = zero;
  return result;
}

using open::CreationOptions;

MeasureReport measured(const std::string& format, BlockDevice* source, uint64_t size = 0) {
  return sync_wait(measure(source, size, CreationOptions(format), nullptr));
}

open::NewImageSize measured(BlockDevice* source,
                            const CreationOptions& options = CreationOptions("qcow2")) {
  return sync_wait(measure(source, 0, options, nullptr)).file;
}

TEST(Measure, ARawImageTakesWholeSectors) {
  EXPECT_EQ(measured("raw", nullptr, 1000).file.required, 1024u);
  EXPECT_EQ(measured("raw", nullptr, 1000).file.fully_allocated, 1024u);
  test::ScriptedDevice device(4096);
  EXPECT_EQ(measured("raw", &device).file.required, 4096u);
  EXPECT_FALSE(measured("raw", &device).bitmaps_size.has_value());
}

TEST(Measure, AnEmptyDiskTakesMetadataAlone) {
  const MeasureReport report = measured("qcow2", nullptr, 1 << 30);
  EXPECT_EQ(report.file.required, 393216u);
  EXPECT_EQ(report.file.fully_allocated, 1074135040u);
}

TEST(Measure, ClustersWithDataAreCountedOnce) {
  test::ScriptedDevice device(1 << 20);
  // Three pieces in the first cluster, one that crosses into the fourth, zeroes that are stored.
  device.scripted_extents = {extent(0, 512, true, false),
                             extent(512, 512, false, true),
                             extent(1024, 512, true, false),
                             extent(1536, 150000, false, true),
                             extent(151536, 60000, true, false),
                             extent(211536, 300000, true, true),
                             extent(511536, (1 << 20) - 511536, false, true)};
  const uint64_t metadata = 327680;
  EXPECT_EQ(measured(&device).required, metadata + 3 * 65536);
}

TEST(Measure, WithABackingFileAllMayBeNeeded) {
  test::ScriptedDevice device(1 << 20);
  device.scripted_extents = {extent(0, 1 << 20, false, true)};
  CreationOptions options("qcow2");
  EXPECT_EQ(measured(&device, options).required, 327680u);
  options.set("backing_file", "base");
  EXPECT_EQ(measured(&device, options).required, 1376256u);
}

TEST(Measure, OptionsAreRefusedBeforeAnythingIsRead) {
  test::ScriptedDevice device(1 << 20);
  CreationOptions options("qcow2");
  options.set("cluster_size", "3");
  EXPECT_THROW(measured(&device, options), Error);
  EXPECT_TRUE(device.scopes.empty());
}

}  // namespace
}  // namespace byre::jobs
