// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <utility>

#include "async/loop.h"
#include "base/assert.h"

namespace byre {

// Lets coroutines of one loop pass in the order in which they took their tickets. A coroutine waits
// for its turn; the next one may pass once the ticket has been passed, by pass() or by destroying
// it. A coroutine that fails before its turn may give up its ticket at once and delays no other.
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

    // `co_await ticket.turn();` This does not pass the ticket.
    auto turn() const {
      struct Awaiter {
        Turnstile* owner;
        uint64_t number;
        Waiter waiter = {};
        bool await_ready() const { return owner->current_ == number; }
        void await_suspend(std::coroutine_handle<> self) {
          waiter.coroutine = self;
          owner->slot_of(number).waiting = &waiter;
        }
        void await_resume() const noexcept {}
      };
      BYRE_ASSERT(owner_ != nullptr);
      return Awaiter{owner_, number_};
    }

    // The next coroutine runs once this one suspends. A second call does nothing.
    void pass() {
      if (owner_ != nullptr) std::exchange(owner_, nullptr)->pass(number_);
    }

   private:
    Turnstile* owner_ = nullptr;
    uint64_t number_ = 0;
  };

  Turnstile() = default;
  ~Turnstile() { BYRE_ASSERT(!is_in_use()); }
  Turnstile(const Turnstile&) = delete;
  Turnstile& operator=(const Turnstile&) = delete;

  // Numbers 0, 1, 2, ... The turnstile outlives its tickets.
  Ticket take() {
    slots_.emplace_back();
    return {this, current_ + slots_.size() - 1};
  }

  // Whether there is a ticket that has not been passed.
  bool is_in_use() const { return !slots_.empty(); }

 private:
  // The state of a ticket.
  struct Slot {
    Waiter* waiting = nullptr;
    bool is_passed = false;
  };

  Slot& slot_of(uint64_t number) { return slots_[number - current_]; }

  void pass(uint64_t number) noexcept {
    slot_of(number).is_passed = true;
    if (number != current_) return;
    while (!slots_.empty() && slots_.front().is_passed) {
      slots_.pop_front();
      ++current_;
    }
    if (!slots_.empty() && slots_.front().waiting != nullptr) {
      Loop::current().schedule(slots_.front().waiting);
    }
  }

  uint64_t current_ = 0;
  std::deque<Slot> slots_;  // of the tickets from current_ on
};

}  // namespace byre
