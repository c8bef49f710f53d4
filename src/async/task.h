// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "async/frame_pool.h"
#include "base/assert.h"

namespace byre {

class Gate;
template <class T>
class Task;

namespace task_detail {

// Count a task, and no longer count it. In gate.cc: gate.h needs this file.
void enter(Gate* gate);
void leave(Gate* gate) noexcept;

struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) const noexcept {
    finished.promise().end();
    return finished.promise().continuation;
  }
  void await_resume() const noexcept {}
};

class PromiseBase {
 public:
  PromiseBase() = default;
  PromiseBase(const PromiseBase&) = delete;
  PromiseBase& operator=(const PromiseBase&) = delete;
  ~PromiseBase() { end(); }
  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { exception = std::current_exception(); }
  // Frames are allocated and freed at the rate of requests, so they are recycled.
  static void* operator new(size_t size) { return frame_pool::allocate(size); }
  static void operator delete(void* frame, size_t size) { frame_pool::release(frame, size); }

  void count_in(Gate* counter) {
    if (gate != nullptr) return;
    enter(counter);
    gate = counter;
  }
  void end() noexcept {
    if (gate != nullptr) leave(std::exchange(gate, nullptr));
  }

  std::coroutine_handle<> continuation = std::noop_coroutine();
  std::exception_ptr exception;
  Gate* gate = nullptr;  // counts the task until it ends
};

template <class T>
class Promise : public PromiseBase {
 public:
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    if (exception) std::rethrow_exception(exception);
    return std::move(*value);
  }
  std::optional<T> value;
};

template <>
class Promise<void> : public PromiseBase {
 public:
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void take() const {
    if (exception) std::rethrow_exception(exception);
  }
};

}  // namespace task_detail

// A piece of work that runs once, when it is awaited, on the loop of the awaiting coroutine. Lazy:
// a Task that is not awaited does nothing. It has one owner. Destroying a Task that is suspended in
// the middle is a bug, because the storage below may still write to its buffers. An exception that
// leaves the body is thrown at the `co_await`.
template <class T = void>
class [[nodiscard]] Task {
 public:
  using Result = T;
  using promise_type = task_detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // The gate counts the task, from now until its body ends or it is destroyed, unless another gate
  // counts it already.
  // REQUIRES: the gate outlives the task.
  void count_in(Gate* gate) { handle_.promise().count_in(gate); }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle handle;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const noexcept {
        handle.promise().continuation = awaiting;
        return handle;
      }
      T await_resume() const { return handle.promise().take(); }
    };
    BYRE_ASSERT(handle_);
    return Awaiter{handle_};
  }

 private:
  friend promise_type;
  explicit Task(Handle handle) : handle_(handle) {}

  Handle handle_;
};

namespace task_detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

}  // namespace task_detail
}  // namespace byre
