// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>

#include "base/assert.h"

namespace byre {

// A suspended coroutine in a list of those that wait for the same event, or are ready to run. It is
// part of the awaiter, in the frame of the waiting coroutine, so that neither waiting nor waking
// allocates memory: both must work when there is none, and in destructors.
struct Waiter {
  std::coroutine_handle<> coroutine;
  Waiter* next = nullptr;
};

// Waiters in order of arrival. Each is in at most one list.
class WaiterList {
 public:
  WaiterList() = default;
  WaiterList(const WaiterList&) = delete;
  WaiterList& operator=(const WaiterList&) = delete;

  bool is_empty() const { return first_ == nullptr; }
  size_t size() const { return size_; }

  void push_back(Waiter* waiter) {
    waiter->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = waiter;
    last_ = waiter;
    ++size_;
  }

  // For `void await_suspend(std::coroutine_handle<> self)`.
  void push_back(Waiter* waiter, std::coroutine_handle<> self) {
    waiter->coroutine = self;
    push_back(waiter);
  }

  Waiter* pop_front() { return take(0); }

  // The one at position `index`; found by walking the list.
  Waiter* take(size_t index) {
    BYRE_ASSERT(index < size_);
    Waiter* before = nullptr;
    Waiter* taken = first_;
    for (; index > 0; --index) {
      before = taken;
      taken = taken->next;
    }
    (before == nullptr ? first_ : before->next) = taken->next;
    if (last_ == taken) last_ = before;
    --size_;
    taken->next = nullptr;
    return taken;
  }

  // Moves all of another list to the end of this one.
  void append(WaiterList* other) {
    if (other->is_empty()) return;
    (first_ == nullptr ? first_ : last_->next) = other->first_;
    last_ = other->last_;
    size_ += std::exchange(other->size_, 0);
    other->first_ = other->last_ = nullptr;
  }

 private:
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  size_t size_ = 0;
};

}  // namespace byre
