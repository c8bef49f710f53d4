// SPDX-License-Identifier: Apache-2.0
#include "async/clean_up.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "async/loop.h"

namespace byre {
namespace {

Task<void> clean(bool fails, bool* is_done) {
  co_await Loop::current().yield();
  *is_done = true;
  if (fails) throw std::logic_error("cannot clean up");
}

TEST(CleanUp, TheFirstErrorIsThrownWhetherTheCleanupFailsOrNot) {
  for (const bool fails : {false, true}) {
    Loop loop;
    bool is_done = false;
    const auto error = std::make_exception_ptr(std::runtime_error("the work failed"));
    EXPECT_THROW(loop.run(clean_up_and_rethrow(clean(fails, &is_done), error)), std::runtime_error);
    EXPECT_TRUE(is_done);
  }
}

}  // namespace
}  // namespace byre
