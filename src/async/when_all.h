// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/task.h"

namespace byre {

// Runs all tasks concurrently on this loop, and waits for every one of them, failed or not: when it
// returns, no task is still using the caller's buffers. Throws the error that occurred first.
Task<void> when_all(std::vector<Task<void>> tasks);

}  // namespace byre
