// SPDX-License-Identifier: Apache-2.0
#include "byre/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <type_traits>
#include <utility>

namespace byre {
namespace {

TEST(Error, AHostErrorNamesWhatFailedAndWhy) {
  const Error error = Error::from_errno(ENOENT, "Could not open 'a.qcow2'");
  EXPECT_EQ(error.message(), "Could not open 'a.qcow2': No such file or directory");
  const Error own = Error::from_errno(ENOENT, "Could not open 'a.qcow2'",
                                      ErrorData{.code = "file-not-opened", .file = "a.qcow2"});
  EXPECT_EQ(own.message(), error.message());
  EXPECT_EQ(own.sentence(), "No such file or directory");
  EXPECT_EQ(own.kind(), error.kind());
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
  const Error two(ErrorKind::kIo, EIO, "two");
  const Error three(ErrorKind::kIo, EIO, "three");
  const Error error = Error(ErrorKind::kIo, EIO, "one").with_more(two).with_more(three);
  const Error outer = error.with_prefix("b").with_hint("c");
  EXPECT_EQ(outer.message(), "b: one");
  ASSERT_EQ(outer.more().size(), 2u);
  EXPECT_EQ(outer.more()[0].message(), "two");
  EXPECT_EQ(outer.more()[1].message(), "three");
}

TEST(Error, TheMessageNamesTheFileOnce) {
  const Error error = Error(ErrorKind::kCorrupt, EINVAL,
                            ErrorData{.code = "a-code", .field = "x", .value = 7}, "x is 7")
                          .with_file("a");
  EXPECT_EQ(error.message(), "'a': x is 7");
  EXPECT_EQ(error.with_prefix("Could not open backing file").message(),
            "Could not open backing file: 'a': x is 7");
  const Error outer = error.with_prefix("Could not open 'a'").with_suffix("\nTry b");
  EXPECT_EQ(outer.message(), "Could not open 'a': x is 7\nTry b");
  EXPECT_STREQ(outer.what(), outer.message().c_str());
  EXPECT_EQ(outer.sentence(), "x is 7");
  EXPECT_EQ(outer.data().code, "a-code");
  EXPECT_EQ(outer.data().field, "x");
  EXPECT_EQ(outer.data().value, 7);
  EXPECT_EQ(outer.data().offset, std::nullopt);
}

TEST(Error, APrefixIsTakenAwayWhereverItCameFrom) {
  const Error inner(ErrorKind::kIo, EIO, "bad");
  const Error outer = inner.with_prefix("b").with_prefix("a");
  EXPECT_EQ(outer.message(), "a: b: bad");
  EXPECT_EQ(outer.without_prefix("a").message(), "b: bad");
  EXPECT_EQ(outer.without_prefix("b").message(), "a: b: bad");
  EXPECT_EQ(outer.without_prefix("a").without_prefix("b").message(), "bad");
  EXPECT_EQ(Error(ErrorKind::kIo, EIO, "a: bad").without_prefix("a").message(), "bad");
  EXPECT_EQ(inner.with_prefix("").message(), ": bad");
}

TEST(Error, CopiesShareTheirContents) {
  static_assert(std::is_nothrow_copy_constructible_v<Error>);
  static_assert(std::is_nothrow_copy_assignable_v<Error>);
  Error error(ErrorKind::kIo, 0, "bad");
  EXPECT_EQ(error.errno_value(), EIO);
  const Error moved = std::move(error);
  EXPECT_EQ(error.message(), "bad");  // moving is copying
  EXPECT_EQ(moved.what(), error.what());
}

TEST(Error, AFullDiskIsNoSpaceHoweverTheHostPutsIt) {
  EXPECT_EQ(Error::kind_of(ENOSPC), ErrorKind::kNoSpace);
  EXPECT_EQ(Error::kind_of(EDQUOT), ErrorKind::kNoSpace);
  EXPECT_EQ(Error::kind_of(EFBIG), ErrorKind::kNoSpace);
}

}  // namespace
}  // namespace byre
