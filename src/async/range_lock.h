// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstdint>
#include <iterator>
#include <list>
#include <utility>

#include "async/loop.h"

namespace byre {

// Orders requests that touch the same bytes and delays no others. Shared locks of a range may
// overlap one another; an exclusive lock overlaps nothing. Fair: a request waits for every earlier
// one that it conflicts with, whether that one holds its range or is still waiting for it, so that
// no request starves. For coroutines of one loop.
class RangeLock {
 public:
  enum class Mode { kShared, kExclusive };

 private:
  struct Request {
    uint64_t offset;
    uint64_t length;
    Mode mode;
    bool granted;
    Waiter* waiting;
    bool conflicts_with(const Request& other) const {
      if (length == 0 || other.length == 0) return false;
      const bool overlap = offset < other.offset ? other.offset - offset < length
                                                 : offset - other.offset < other.length;
      return overlap && (mode == Mode::kExclusive || other.mode == Mode::kExclusive);
    }
  };
  using Position = std::list<Request>::iterator;

 public:
  class Guard {
   public:
    Guard() = default;
    Guard(RangeLock* owner, Position position) : owner_(owner), position_(position) {}
    Guard(Guard&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), position_(other.position_) {}
    Guard& operator=(Guard&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(position_, other.position_);
      return *this;
    }
    ~Guard() { release(); }
    void release() {
      if (owner_ != nullptr) std::exchange(owner_, nullptr)->release(position_);
    }

   private:
    RangeLock* owner_ = nullptr;
    Position position_;
  };

  RangeLock() = default;
  ~RangeLock() { BYRE_ASSERT(requests_.empty()); }
  RangeLock(const RangeLock&) = delete;
  RangeLock& operator=(const RangeLock&) = delete;

  // `const auto guard = co_await lock.acquire(offset, length, mode);` An empty range conflicts
  // with nothing.
  auto acquire(uint64_t offset, uint64_t length, Mode mode) {
    struct Awaiter {
      RangeLock* owner;
      Position position;
      Waiter waiter = {};
      bool await_ready() const { return position->granted; }
      void await_suspend(std::coroutine_handle<> self) {
        waiter.coroutine = self;
        position->waiting = &waiter;
      }
      Guard await_resume() const { return Guard(owner, position); }
    };
    const Position position = append({offset, length, mode, false, nullptr});
    position->granted = may_go(position);
    return Awaiter{this, position};
  }

  // Asserts that no two requests that have the lock conflict, and that each one that waits does so
  // for an earlier one. For tests.
  void check() const {
    for (auto request = requests_.begin(); request != requests_.end(); ++request) {
      bool conflicts = false;
      for (auto earlier = requests_.begin(); earlier != request; ++earlier) {
        if (!request->conflicts_with(*earlier)) continue;
        conflicts = true;
        BYRE_ASSERT(!request->granted);
      }
      BYRE_ASSERT(request->granted || conflicts);
    }
  }

 private:
  // List nodes are reused: most requests come and go alone, and there are many.
  Position append(const Request& request) {
    if (spare_.empty()) return requests_.insert(requests_.end(), request);
    spare_.front() = request;
    requests_.splice(requests_.end(), spare_, spare_.begin());
    return std::prev(requests_.end());
  }

  bool may_go(Position position) {
    for (Position earlier = requests_.begin(); earlier != position; ++earlier) {
      if (position->conflicts_with(*earlier)) return false;
    }
    return true;
  }

  void release(Position position) noexcept {
    const Request gone = *position;
    Position later = std::next(position);
    spare_.splice(spare_.begin(), requests_, position);
    if (spare_.size() > kSpareMax) spare_.pop_back();
    for (; later != requests_.end(); ++later) {
      if (later->granted || !later->conflicts_with(gone) || !may_go(later)) continue;
      later->granted = true;
      if (later->waiting != nullptr) Loop::current().schedule(later->waiting);
    }
  }

  static constexpr size_t kSpareMax = 64;

  std::list<Request> requests_;  // in order of arrival
  std::list<Request> spare_;
};

}  // namespace byre
