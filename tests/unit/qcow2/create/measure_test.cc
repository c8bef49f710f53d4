// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/units.h"
#include "byre/error.h"
#include "qcow2/create/create.h"

namespace byre::qcow2 {
namespace {

struct Line {
  uint64_t size;
  uint64_t cluster_size;
  uint64_t refcount_bits;
  bool extended_l2;
  Preallocation preallocation;
  uint64_t required;
  uint64_t fully_allocated;
};

// What `qemu-img measure --size` of QEMU 10.0 prints.
constexpr Line kLines[] = {
    {0, 512, 16, false, Preallocation::kOff, 1536, 1536},
    {0, 65536, 16, false, Preallocation::kOff, 196608, 196608},
    {1, 65536, 16, false, Preallocation::kOff, 327680, 393216},
    {1, 2097152, 16, false, Preallocation::kOff, 10485760, 12582912},
    {1000000, 512, 16, false, Preallocation::kOff, 21504, 1021952},
    {kGiB, 512, 16, false, Preallocation::kOff, 21385216, 1095127040},
    {kGiB, 65536, 16, false, Preallocation::kOff, 393216, 1074135040},
    {kGiB, 65536, 1, false, Preallocation::kOff, 393216, 1074135040},
    {kGiB, 65536, 64, false, Preallocation::kOff, 524288, 1074266112},
    {kGiB, 65536, 16, true, Preallocation::kOff, 524288, 1074266112},
    {kGiB, 65536, 16, false, Preallocation::kMetadata, 393216, 1074135040},
    {kGiB, 65536, 16, false, Preallocation::kFalloc, 1074135040, 1074135040},
    {kGiB, 65536, 16, false, Preallocation::kFull, 1074135040, 1074135040},
    {kTiB, 65536, 16, false, Preallocation::kOff, 168034304, 1099679662080},
    {2048 * kTiB, 65536, 16, false, Preallocation::kOff, 343650009088, 2252143463694336},
    {uint64_t{1} << 61, 2097152, 16, false, Preallocation::kOff, 10995174998016,
     2305854004388691968},
};

CreateOptions options_of(const Line& line) {
  CreateOptions options;
  options.size = line.size;
  options.cluster_size = line.cluster_size;
  options.refcount_bits = line.refcount_bits;
  options.extended_l2 = line.extended_l2;
  options.preallocation = line.preallocation;
  return options;
}

TEST(Measure, GivesQemusNumbersForAnEmptyDisk) {
  for (const Line& line : kLines) {
    SCOPED_TRACE(testing::Message() << line.size << " " << line.cluster_size);
    const ImageSize measured = measure(options_of(line), 0);
    EXPECT_EQ(measured.required, line.required);
    EXPECT_EQ(measured.fully_allocated, line.fully_allocated);
  }
}

TEST(Measure, CountsTheClustersThatHoldData) {
  CreateOptions options;
  options.size = kGiB;
  EXPECT_EQ(measure(options, 65536).required, 393216u + 65536);
  EXPECT_EQ(measure(options, 1).required, 393216u + 65536);
  EXPECT_EQ(measure(options, kGiB).required, measure(options, 0).fully_allocated);
}

TEST(Measure, RefusesWhatQemuRefuses) {
  const auto refusal = [](CreateOptions options) -> std::string {
    try {
      measure(options, 0);
    } catch (const Error& error) {
      return std::string(error.data().code);
    }
    return "";
  };
  CreateOptions options;
  options.size = kGiB;
  options.cluster_size = 100;
  EXPECT_EQ(refusal(options), "qcow2-cluster-size-wrong");
  options.cluster_size = 4096;
  options.extended_l2 = true;
  EXPECT_EQ(refusal(options), "qcow2-extended-l2-in-small-clusters");
  options.cluster_size = 65536;
  options.version = 2;
  EXPECT_EQ(refusal(options), "");  // QEMU does not look at the version here
  options.refcount_bits = 8;
  EXPECT_EQ(refusal(options), "qcow2-measured-refcount-bits-in-version-2");
  options.refcount_bits = 3;
  EXPECT_EQ(refusal(options), "qcow2-refcount-bits-wrong");
  options = {};
  for (const uint64_t size : {(uint64_t{1} << 51) + 1, UINT64_MAX}) {
    options.size = size;
    EXPECT_EQ(refusal(options), "qcow2-measured-size-too-large");
  }
}

}  // namespace
}  // namespace byre::qcow2
