// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <utility>

#include "async/clean_up.h"
#include "block/block_device.h"

namespace byre {

// Closes a device at the end of work with it, which may have failed: throws `error`, the work's, or
// if that is nullptr the error of closing.
inline Task<void> close_after(BlockDevice* device, std::exception_ptr error) {
  Task<void> closing = device->close();
  if (error) co_await clean_up_and_rethrow(std::move(closing), error);
  co_await std::move(closing);
}

// Does the work, and closes the device, whether it failed or not. `device` outlives the task.
inline Task<void> work_and_close(BlockDevice* device, Task<void> work) {
  std::exception_ptr error;
  try {
    co_await std::move(work);
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_after(device, error);
}

}  // namespace byre
