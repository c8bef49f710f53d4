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
  using Place = std::list<Request>::iterator;

 public:
  class Guard {
   public:
    Guard() = default;
    Guard(RangeLock* owner, Place place) : owner_(owner), place_(place) {}
    Guard(Guard&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), place_(other.place_) {}
    Guard& operator=(Guard&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(place_, other.place_);
      return *this;
    }
    ~Guard() { release(); }
    void release() {
      if (owner_ != nullptr) std::exchange(owner_, nullptr)->release(place_);
    }

   private:
    RangeLock* owner_ = nullptr;
    Place place_;
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
      Place place;
      Waiter waiter = {};
      bool await_ready() const { return place->granted; }
      void await_suspend(std::coroutine_handle<> self) {
        waiter.coroutine = self;
        place->waiting = &waiter;
      }
      Guard await_resume() const { return Guard(owner, place); }
    };
    const Place place = append({offset, length, mode, false, nullptr});
    place->granted = may_go(place);
    return Awaiter{this, place};
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
  Place append(const Request& request) {
    if (spare_.empty()) return requests_.insert(requests_.end(), request);
    spare_.front() = request;
    requests_.splice(requests_.end(), spare_, spare_.begin());
    return std::prev(requests_.end());
  }

  bool may_go(Place place) {
    for (Place earlier = requests_.begin(); earlier != place; ++earlier) {
      if (place->conflicts_with(*earlier)) return false;
    }
    return true;
  }

  void release(Place place) noexcept {
    const Request gone = *place;
    Place later = std::next(place);
    spare_.splice(spare_.begin(), requests_, place);
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
