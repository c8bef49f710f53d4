// SPDX-License-Identifier: Apache-2.0
#include "byre/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace byre {
namespace {

TEST(Error, AHostErrorNamesWhatFailedAndWhy) {
  const Error error = Error::from_errno(ENOENT, "Could not open 'a.qcow2'");
  EXPECT_EQ(error.message(), "Could not open 'a.qcow2': No such file or directory");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_EQ(error.errno_value(), ENOENT);
}

TEST(Error, APrefixKeepsKindAndHint) {
  const Error inner(ErrorKind::kCorrupt, EINVAL, "bad", "field x is 7");
  const Error outer = inner.with_prefix("Could not open 'b'");
  EXPECT_EQ(outer.message(), "Could not open 'b': bad");
  EXPECT_EQ(outer.hint(), "field x is 7");
  EXPECT_EQ(outer.kind(), ErrorKind::kCorrupt);
}

TEST(Error, MoreStaysWithIt) {
  const Error error = Error(ErrorKind::kIo, EIO, "one").with_more("two").with_more("three");
  const Error outer = error.with_prefix("b").with_hint("c");
  EXPECT_EQ(outer.message(), "b: one");
  EXPECT_EQ(outer.more(), (std::vector<std::string>{"two", "three"}));
}

TEST(Error, AFullDiskIsNoSpaceHoweverTheHostPutsIt) {
  EXPECT_EQ(Error::kind_of(ENOSPC), ErrorKind::kNoSpace);
  EXPECT_EQ(Error::kind_of(EDQUOT), ErrorKind::kNoSpace);
  EXPECT_EQ(Error::kind_of(EFBIG), ErrorKind::kNoSpace);
}

}  // namespace
}  // namespace byre
