// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "byre/error.h"

namespace byre {

// A caller's request to stop. Long-running work checks it between steps that leave everything
// consistent. request() may be called from any thread and from a signal handler.
class Cancellation {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool is_requested() const noexcept { return requested_.load(std::memory_order_relaxed); }
  // Throws Error(kCancelled) once request() has been called.
  void check() const;

 private:
  std::atomic<bool> requested_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);
};

}  // namespace byre
