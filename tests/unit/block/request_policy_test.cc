// SPDX-License-Identifier: Apache-2.0
#include "block/request_policy.h"

#include <gtest/gtest.h>

#include <vector>

#include "byre/error.h"

namespace byre {
namespace {

TEST(RequestPolicy, UnmappingDetectedZeroesNeedsDiscardsToBeDone) {
  RequestPolicy policy{.discard = DiscardPolicy::kIgnore, .detect_zeroes = DetectZeroes::kUnmap};
  try {
    policy.validate();
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "detect-zeroes is unmap, which requires discard=unmap");
    EXPECT_EQ(error.data().code, "device-detect-zeroes-without-discard");
  }
  policy.discard = DiscardPolicy::kUnmap;
  policy.validate();
  policy = {.discard = DiscardPolicy::kIgnore, .detect_zeroes = DetectZeroes::kOn};
  policy.validate();
}

TEST(RequestPolicy, ZeroesKeepTheirSpaceWhereDiscardsAreIgnored) {
  const WriteFlags flags = WriteFlags::kMayUnmap | WriteFlags::kFua;
  EXPECT_EQ(RequestPolicy{.discard = DiscardPolicy::kIgnore}.zeroes_flags(flags), WriteFlags::kFua);
  EXPECT_EQ(RequestPolicy{.discard = DiscardPolicy::kUnmap}.zeroes_flags(flags), flags);
}

TEST(RequestPolicy, OnlyZeroBytesBecomeZeroesAndOnlyWhereTheyAreLookedFor) {
  std::vector<uint8_t> bytes(4096);
  const WriteBuffers from((Bytes(bytes)));
  RequestPolicy policy;
  EXPECT_FALSE(policy.becomes_zeroes(from));
  policy.detect_zeroes = DetectZeroes::kOn;
  EXPECT_TRUE(policy.becomes_zeroes(from));
  bytes[4095] = 1;
  EXPECT_FALSE(policy.becomes_zeroes(from));
}

TEST(RequestPolicy, DetectedZeroesAreNotCompressedAndUnmapOnlyIfToldTo) {
  const WriteFlags flags = WriteFlags::kCompressed | WriteFlags::kFua;
  RequestPolicy policy{.detect_zeroes = DetectZeroes::kOn};
  EXPECT_EQ(policy.detected_flags(flags), WriteFlags::kFua);
  policy.detect_zeroes = DetectZeroes::kUnmap;
  EXPECT_EQ(policy.detected_flags(flags), WriteFlags::kFua | WriteFlags::kMayUnmap);
}

}  // namespace
}  // namespace byre
