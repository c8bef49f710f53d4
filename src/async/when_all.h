// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/task.h"

namespace byre {

// Runs all tasks at the same time, on this loop, and waits for every one of them, failed or not:
// when it returns, no task is still using the caller's buffers. Throws the first error, in the
// order of time.
Task<void> when_all(std::vector<Task<void>> tasks);

}  // namespace byre
