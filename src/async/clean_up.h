// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <utility>

#include "async/task.h"

namespace byre {

// After a failure: does what has to be undone, then throws `error`. If the undoing fails as well,
// that does not replace the error, which tells the caller what to do next.
inline Task<void> clean_up_and_rethrow(Task<void> cleanup, std::exception_ptr error) {
  try {
    co_await std::move(cleanup);
  } catch (...) {
    // Less relevant than the first error.
  }
  std::rethrow_exception(error);
}

}  // namespace byre
