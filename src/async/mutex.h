// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "async/loop.h"

namespace byre {

// A counting semaphore for coroutines of one loop; permits are granted in the order of the
// requests. Not for use between threads.
class Semaphore {
 public:
  // One permit, released when it is destroyed.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(Semaphore* owner) : owner_(owner) {}
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(owner_, other.owner_);
      return *this;
    }
    ~Permit() { release(); }
    void release() {
      if (owner_ != nullptr) std::exchange(owner_, nullptr)->give_back();
    }

   private:
    Semaphore* owner_ = nullptr;
  };

  explicit Semaphore(uint64_t permits) : permits_(permits) {}
  ~Semaphore() { BYRE_ASSERT(waiting_.is_empty()); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  // `const auto permit = co_await semaphore.acquire();`
  auto acquire() {
    struct Awaiter {
      Semaphore* owner;
      Waiter waiter = {};
      bool await_ready() const {
        if (owner->permits_ == 0) return false;
        --owner->permits_;
        return true;
      }
      void await_suspend(std::coroutine_handle<> self) { owner->waiting_.push_back(&waiter, self); }
      Permit await_resume() const { return Permit(owner); }
    };
    return Awaiter{this};
  }

  uint64_t available() const { return permits_; }

 private:
  void give_back() noexcept {
    if (waiting_.is_empty()) {
      ++permits_;
      return;
    }
    // The permit passes to the first waiter, so that no other coroutine can overtake it before it
    // runs.
    Loop::current().schedule(waiting_.pop_front());
  }

  uint64_t permits_;
  WaiterList waiting_;
};

// `const auto guard = co_await mutex.lock();` Fair, for coroutines of one loop.
class Mutex {
 public:
  using Guard = Semaphore::Permit;
  auto lock() { return semaphore_.acquire(); }
  bool is_locked() const { return semaphore_.available() == 0; }

 private:
  Semaphore semaphore_{1};
};

}  // namespace byre
