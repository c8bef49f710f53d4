// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"

namespace byre {

// A task that has nothing to do.
inline Task<void> ready() {
  co_return;
}

}  // namespace byre
