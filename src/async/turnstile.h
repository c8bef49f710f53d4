// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "async/loop.h"
#include "base/assert.h"

namespace byre {

// Lets coroutines of one loop through in the order in which they took their tickets. A coroutine
// waits for its turn, and the next one may go once the ticket has been passed: by pass(), or when
// it is destroyed. Whoever fails before its turn may give up its ticket at once and holds up
// nobody.
class Turnstile {
 public:
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Turnstile* owner, uint64_t number) : owner_(owner), number_(number) {}
    Ticket(Ticket&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), number_(other.number_) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~Ticket() { pass(); }

    uint64_t number() const { return number_; }

    // `co_await ticket.turn();` The ticket is not passed yet.
    auto turn() const {
      struct Awaiter {
        Turnstile* owner;
        uint64_t number;
        bool await_ready() const { return owner->current_ == number; }
        void await_suspend(std::coroutine_handle<> self) const {
          owner->waiting_.emplace(number, self);
        }
        void await_resume() const noexcept {}
      };
      BYRE_ASSERT(owner_ != nullptr);
      return Awaiter{owner_, number_};
    }

    // The next coroutine runs once this one waits for something. A second call does nothing.
    void pass() {
      if (owner_ != nullptr) std::exchange(owner_, nullptr)->pass(number_);
    }

   private:
    Turnstile* owner_ = nullptr;
    uint64_t number_ = 0;
  };

  Turnstile() = default;
  ~Turnstile() { BYRE_ASSERT(waiting_.empty()); }
  Turnstile(const Turnstile&) = delete;
  Turnstile& operator=(const Turnstile&) = delete;

  // Numbers 0, 1, 2, ... The turnstile outlives its tickets.
  Ticket take() { return {this, taken_++}; }

  // Whether there is a ticket that has not been passed.
  bool is_in_use() const { return current_ != taken_; }

 private:
  void pass(uint64_t number) {
    passed_.insert(number);
    const uint64_t before = current_;
    while (!passed_.empty() && *passed_.begin() == current_) {
      passed_.erase(passed_.begin());
      ++current_;
    }
    if (current_ == before) return;
    const auto next = waiting_.find(current_);
    if (next == waiting_.end()) return;
    const std::coroutine_handle<> handle = next->second;
    waiting_.erase(next);
    Loop::current().schedule(handle);
  }

  uint64_t taken_ = 0;
  uint64_t current_ = 0;
  std::set<uint64_t> passed_;  // before their turn
  std::map<uint64_t, std::coroutine_handle<>> waiting_;
};

}  // namespace byre
