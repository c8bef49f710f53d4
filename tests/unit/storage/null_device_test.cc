// SPDX-License-Identifier: Apache-2.0
#include "storage/null_device.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "byre/error.h"

namespace byre::storage {
namespace {

using Contents = std::vector<uint8_t>;

TEST(NullDevice, ReadsZeroesOnlyWhereThatWasAskedFor) {
  Loop loop;
  Contents bytes(16, 7);
  NullDevice silent({.size = 100});
  loop.run(silent.read(84, Bytes(bytes)));
  EXPECT_EQ(bytes, Contents(16, 7));
  EXPECT_TRUE(loop.run(silent.extents(0, 100, ExtentScope::kLayer)).at(0).data);
  NullDevice zeroes({.size = 100, .read_zeroes = true});
  loop.run(zeroes.read(84, Bytes(bytes)));
  EXPECT_EQ(bytes, Contents(16, 0));
  const std::vector<Extent> extents = loop.run(zeroes.extents(10, 90, ExtentScope::kLayer));
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_TRUE(extents[0].zero);
  EXPECT_EQ(extents[0].length, 90u);
}

TEST(NullDevice, TakesEveryWriteInsideItsSize) {
  Loop loop;
  const Contents bytes(16, 7);
  NullDevice device({.size = 100, .writable = true});
  loop.run(device.write(84, ConstBytes(bytes)));
  loop.run(device.flush());
  EXPECT_THROW(loop.run(device.write(85, ConstBytes(bytes))), Error);
  EXPECT_THROW(loop.run(device.resize(101, Preallocation::kOff)), Error);
  NullDevice read_only({.size = 100});
  EXPECT_THROW(loop.run(read_only.write(0, ConstBytes(bytes))), Error);
}

}  // namespace
}  // namespace byre::storage
