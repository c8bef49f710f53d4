// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>
#include <map>

#include "async/loop.h"
#include "base/assert.h"

namespace byre::jobs {

// Lets coroutines of one loop through in the order of their tickets 0, 1, 2, ... A coroutine waits
// for its turn and passes the turn on when the next may go. Every ticket must be passed, also by
// a coroutine that failed.
class Turnstile {
 public:
  Turnstile() = default;
  ~Turnstile() { BYRE_ASSERT(waiting_.empty()); }
  Turnstile(const Turnstile&) = delete;
  Turnstile& operator=(const Turnstile&) = delete;

  // `co_await turnstile.wait(ticket);`
  auto wait(uint64_t ticket) {
    struct Awaiter {
      Turnstile* owner;
      uint64_t ticket;
      bool await_ready() const { return owner->current_ == ticket; }
      void await_suspend(std::coroutine_handle<> self) const {
        owner->waiting_.emplace(ticket, self);
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{this, ticket};
  }

  // For whoever has the turn. The next coroutine runs once this one waits for something.
  void pass() {
    ++current_;
    const auto next = waiting_.find(current_);
    if (next == waiting_.end()) return;
    const std::coroutine_handle<> handle = next->second;
    waiting_.erase(next);
    Loop::current().schedule(handle);
  }

 private:
  uint64_t current_ = 0;
  std::map<uint64_t, std::coroutine_handle<>> waiting_;
};

}  // namespace byre::jobs
