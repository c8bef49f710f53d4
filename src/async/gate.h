// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "async/loop.h"
#include "base/assert.h"

namespace byre {

// Counts tasks in flight (Task::count_in()), so that the code that closes what they use can wait for
// them. It admits every task: whether new ones may still arrive is up to the owner. For coroutines
// of one loop.
class Gate {
 public:
  Gate() = default;
  ~Gate() { BYRE_ASSERT(waiting_ == nullptr); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  uint64_t count() const { return count_; }

  // `co_await gate.wait_until_empty();` One waiter at a time.
  auto wait_until_empty() {
    struct Awaiter {
      Gate* owner;
      Waiter waiter = {};
      bool await_ready() const { return owner->count_ == 0; }
      void await_suspend(std::coroutine_handle<> self) {
        BYRE_ASSERT(owner->waiting_ == nullptr);
        waiter.coroutine = self;
        owner->waiting_ = &waiter;
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }

 private:
  friend void task_detail::enter(Gate* gate);
  friend void task_detail::leave(Gate* gate) noexcept;

  void leave() noexcept {
    if (--count_ != 0 || waiting_ == nullptr) return;
    Loop::current().schedule(std::exchange(waiting_, nullptr));
  }

  uint64_t count_ = 0;
  Waiter* waiting_ = nullptr;
};

}  // namespace byre
