// SPDX-License-Identifier: Apache-2.0
#include "async/when_all.h"

#include <exception>
#include <utility>

#include "async/detached.h"

namespace byre {

namespace {

// The last task to end wakes the coroutine that waits for all.
struct Countdown {
  size_t left;
  std::exception_ptr first_error;
  std::coroutine_handle<> waiting;
};

Detached run_child(Task<void> task, Countdown* countdown) {
  try {
    // The task's frame, and the arguments in it, are destroyed before the waiting coroutine
    // resumes.
    Task<void> running = std::move(task);
    co_await std::move(running);
  } catch (...) {
    if (!countdown->first_error) countdown->first_error = std::current_exception();
  }
  if (--countdown->left == 0 && countdown->waiting) countdown->waiting.resume();
}

struct WaitForAll {
  Countdown* countdown;
  bool await_ready() const noexcept { return countdown->left == 0; }
  void await_suspend(std::coroutine_handle<> self) const noexcept { countdown->waiting = self; }
  void await_resume() const noexcept {}
};

}  // namespace

Task<void> when_all(std::vector<Task<void>> tasks) {
  Countdown countdown{tasks.size(), nullptr, nullptr};
  for (Task<void>& task : tasks) {
    try {
      run_child(std::move(task), &countdown);
    } catch (...) {
      // There was no memory to start this task; the others are running and must be waited for.
      if (!countdown.first_error) countdown.first_error = std::current_exception();
      --countdown.left;
    }
  }
  co_await WaitForAll{&countdown};
  if (countdown.first_error) std::rethrow_exception(countdown.first_error);
}

}  // namespace byre
