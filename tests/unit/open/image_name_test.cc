// SPDX-License-Identifier: Apache-2.0
#include "open/image_name.h"

#include <gtest/gtest.h>

namespace byre::open {
namespace {

TEST(ImageName, AProtocolEndsAtAColonBeforeAnySlash) {
  EXPECT_EQ(protocol_of("nbd:unix:/x"), "nbd");
  EXPECT_EQ(protocol_of("http://host/x"), "http");
  EXPECT_EQ(protocol_of("json:{}"), "json");
  EXPECT_EQ(protocol_of(":x"), "");
  EXPECT_EQ(protocol_of("disk.img"), std::nullopt);
  EXPECT_EQ(protocol_of("./a:b"), std::nullopt);
  EXPECT_EQ(protocol_of("/dev/disk/by-path/pci:0"), std::nullopt);
  EXPECT_EQ(protocol_of(""), std::nullopt);
}

TEST(ImageName, NamesInAnImageAreRelativeToItsFolder) {
  EXPECT_EQ(resolve_relative("disk.qcow2", "base.qcow2"), "base.qcow2");
  EXPECT_EQ(resolve_relative("a/b/disk.qcow2", "base.qcow2"), "a/b/base.qcow2");
  EXPECT_EQ(resolve_relative("a/b/disk.qcow2", "../base.qcow2"), "a/b/../base.qcow2");
  EXPECT_EQ(resolve_relative("/disk.qcow2", "base.qcow2"), "/base.qcow2");
  EXPECT_EQ(resolve_relative("a/disk.qcow2", "/x/base.qcow2"), "/x/base.qcow2");
  EXPECT_EQ(resolve_relative("a/disk.qcow2", "b/c:d"), "a/b/c:d");
}

TEST(ImageName, NamesWithAProtocolStay) {
  for (const char* name : {"nbd:host:10", "file:base.qcow2", "file:/base.qcow2", "file:x:y"}) {
    EXPECT_EQ(resolve_relative("a/disk.qcow2", name), name);
  }
}

}  // namespace
}  // namespace byre::open
