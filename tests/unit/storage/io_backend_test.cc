// SPDX-License-Identifier: Apache-2.0
#include "storage/io_backend.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "byre/error.h"

namespace byre::storage {
namespace {

IoEnvironment with_environment(const char* value) {
  setenv("BYRE_IO", value, 1);
  struct Unset {
    ~Unset() { unsetenv("BYRE_IO"); }
  } unset;
  return io_environment();
}

TEST(IoBackend, IsForcedByTheEnvironment) {
  unsetenv("BYRE_IO");
  EXPECT_EQ(io_environment().backend, IoBackend::kAuto);
  EXPECT_TRUE(io_environment().inline_io);
  EXPECT_EQ(with_environment("").backend, IoBackend::kAuto);
  EXPECT_EQ(with_environment("uring").backend, IoBackend::kUring);
  EXPECT_EQ(with_environment("threads,nocache").backend, IoBackend::kThreads);
  EXPECT_FALSE(with_environment("threads,nocache").inline_io);
}

TEST(IoBackend, AnUnknownNameIsAnError) {
  for (const char* wrong : {"aio", "URING", "nocache", ",nocache", "uring,cache"}) {
    EXPECT_THROW(with_environment(wrong), Error) << wrong;
  }
}

}  // namespace
}  // namespace byre::storage
