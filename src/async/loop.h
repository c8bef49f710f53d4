// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <utility>

#include "async/detached.h"
#include "async/task.h"
#include "async/waiter.h"

namespace byre {

// An external source that completes a Loop's operations, for example an io_uring. The loop that
// owns it polls it for completions between coroutines and sleeps in it when there is nothing to
// run.
class EventSource {
 public:
  virtual ~EventSource() = default;
  // Submits queued operations to the host, collects completions, and schedules the coroutines that
  // waited for them. With `block`, sleeps until an operation completes or wake() is called. Called
  // on the loop's thread only.
  virtual void poll(bool block) = 0;
  // Ends a blocking poll(), from any thread; if none is running, the next one.
  virtual void wake() = 0;
};

// One thread's queue of coroutines that are ready to run. Everything that belongs to an image runs
// on one loop, so its state needs no locks between threads: coroutines interleave only at
// `co_await`.
//
// With a seed, the next coroutine is picked at random from those that are ready, and time is
// simulated: it jumps to the next timer when nothing else can run. The same seed gives the same
// run.
//
// All methods are for the loop's own thread, except schedule_from_any_thread().
class Loop {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    std::optional<uint64_t> seed;
  };

  Loop();
  explicit Loop(Options options);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The loop that runs on this thread; asserts that there is one.
  static Loop& current();

  // Runs the task to completion on this thread, together with everything else that becomes ready.
  // Throws what the task throws. Must not be called from inside a coroutine of this loop.
  template <class T>
  T run(Task<T> task);

  // Queues a coroutine after those that are already ready. Neither function can fail.
  void schedule(Waiter* ready) noexcept { ready_.push_back(ready); }
  void schedule_all(WaiterList* ready) noexcept { ready_.append(ready); }
  void schedule_from_any_thread(Waiter* ready) noexcept;

  // Lets other ready coroutines run first.
  auto yield() {
    struct Awaiter {
      Loop* loop;
      Waiter waiter = {};
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> self) { loop->ready_.push_back(&waiter, self); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }

  auto sleep_until(Clock::time_point when) {
    struct Awaiter {
      Loop* loop;
      Clock::time_point when;
      Waiter waiter = {};
      bool await_ready() const { return loop->now() >= when; }
      void await_suspend(std::coroutine_handle<> self) {
        waiter.coroutine = self;
        loop->timers_.emplace(when, &waiter);
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{this, when};
  }
  auto sleep_for(Clock::duration duration) { return sleep_until(now() + duration); }

  // Simulated when the loop has a seed.
  Clock::time_point now() const;
  bool is_simulated() const { return random_.has_value(); }

  // Operations that will end in schedule_from_any_thread() or in an event source: while any are
  // pending, the loop waits for them instead of reporting a deadlock.
  void operation_started() { ++operations_; }
  void operation_finished() { --operations_; }

  // Whether nothing more will happen except in the calling coroutine: none is ready, no timer is
  // running, no operation is in flight. Meant to be called after a yield().
  bool is_idle() const {
    return ready_.is_empty() && timers_.empty() && operations_ == 0 && !has_posted_.load();
  }

  // At most one, kept for the loop's lifetime; created by the first caller that needs it.
  EventSource* event_source() { return event_source_.get(); }
  void set_event_source(std::unique_ptr<EventSource> source);

 private:
  template <class T>
  static Detached run_to_end(Task<T> task, std::optional<T>* result, std::exception_ptr* error,
                             bool* done);
  static Detached run_to_end(Task<void> task, std::exception_ptr* error, bool* done);
  void run_until(const bool& done);
  void run_next();
  bool wait_for_more();
  void take_posted();
  void wait_without_source();

  WaiterList ready_;
  std::multimap<Clock::time_point, Waiter*> timers_;
  uint64_t operations_ = 0;
  uint32_t turns_since_poll_ = 0;
  std::unique_ptr<EventSource> event_source_;
  std::optional<std::mt19937_64> random_;
  Clock::time_point simulated_now_{};

  std::mutex posted_mutex_;
  std::condition_variable posted_changed_;
  WaiterList posted_;  // guarded by posted_mutex_
  std::atomic<bool> has_posted_{false};
};

template <class T>
Detached Loop::run_to_end(Task<T> task, std::optional<T>* result, std::exception_ptr* error,
                          bool* done) {
  try {
    *result = co_await std::move(task);
  } catch (...) {
    *error = std::current_exception();
  }
  *done = true;
}

inline Detached Loop::run_to_end(Task<void> task, std::exception_ptr* error, bool* done) {
  try {
    co_await std::move(task);
  } catch (...) {
    *error = std::current_exception();
  }
  *done = true;
}

namespace loop_detail {
// Makes a loop the current one of this thread within a scope.
class Current {
 public:
  explicit Current(Loop* loop);
  ~Current();

 private:
  Loop* previous_;
};
}  // namespace loop_detail

template <class T>
T Loop::run(Task<T> task) {
  loop_detail::Current scope(this);
  std::exception_ptr error;
  bool done = false;
  if constexpr (std::is_void_v<T>) {
    run_to_end(std::move(task), &error, &done);
    run_until(done);
    if (error) std::rethrow_exception(error);
  } else {
    std::optional<T> result;
    run_to_end(std::move(task), &result, &error, &done);
    run_until(done);
    if (error) std::rethrow_exception(error);
    return std::move(*result);
  }
}

// Runs a task to completion on a new Loop, for a caller that wants a plain function call. Devices
// stay on the loop that opened them, so a program that keeps a device open makes its own Loop and
// calls run().
template <class T>
T sync_wait(Task<T> task) {
  Loop loop;
  return loop.run(std::move(task));
}

}  // namespace byre
