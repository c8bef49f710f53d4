// SPDX-License-Identifier: Apache-2.0
#include "async/loop.h"

namespace byre {

namespace {
thread_local Loop* current_loop = nullptr;

// The number of coroutines that may run before completions are polled again.
constexpr uint32_t kTurnsBetweenPolls = 64;
}  // namespace

namespace loop_detail {
Current::Current(Loop* loop) : previous_(std::exchange(current_loop, loop)) {}
Current::~Current() {
  current_loop = previous_;
}
}  // namespace loop_detail

Loop::Loop() : Loop(Options{}) {}

Loop::Loop(Options options) {
  if (options.seed) random_.emplace(*options.seed);
}

Loop::~Loop() = default;

Loop& Loop::current() {
  BYRE_ASSERT(current_loop != nullptr);
  return *current_loop;
}

void Loop::schedule_from_any_thread(Waiter* ready) noexcept {
  // The lock is held while waking: once it is released, the loop's thread may run the coroutine,
  // finish, and destroy the loop.
  std::lock_guard lock(posted_mutex_);
  posted_.push_back(ready);
  has_posted_.store(true, std::memory_order_release);
  if (event_source_) event_source_->wake();
  posted_changed_.notify_one();
}

void Loop::set_event_source(std::unique_ptr<EventSource> source) {
  BYRE_ASSERT(!event_source_);
  std::lock_guard lock(posted_mutex_);
  event_source_ = std::move(source);
}

Loop::Clock::time_point Loop::now() const {
  return random_ ? simulated_now_ : Clock::now();
}

void Loop::take_posted() {
  if (!has_posted_.load(std::memory_order_acquire)) return;
  std::lock_guard lock(posted_mutex_);
  ready_.append(&posted_);
  has_posted_.store(false, std::memory_order_relaxed);
}

void Loop::run_next() {
  const bool picks = random_ && ready_.size() > 1;
  Waiter* const next = picks ? ready_.take((*random_)() % ready_.size()) : ready_.pop_front();
  next->coroutine.resume();
}

void Loop::run_until(const bool& done) {
  while (!done) {
    take_posted();
    if (!timers_.empty()) {
      const Clock::time_point time = now();
      while (!timers_.empty() && timers_.begin()->first <= time) {
        ready_.push_back(timers_.begin()->second);
        timers_.erase(timers_.begin());
      }
    }
    if (ready_.is_empty()) {
      // Nothing can ever resume the task: it waits for an event that no coroutine or operation will
      // cause.
      BYRE_ASSERT(wait_for_more() && "the loop is deadlocked");
      continue;
    }
    if (event_source_ && operations_ > 0 && ++turns_since_poll_ >= kTurnsBetweenPolls) {
      turns_since_poll_ = 0;
      event_source_->poll(false);
    }
    run_next();
  }
}

// Sleeps until something may be ready; false if nothing ever will be.
bool Loop::wait_for_more() {
  if (operations_ == 0) {
    if (timers_.empty()) return false;
    if (random_) {
      simulated_now_ = timers_.begin()->first;
      return true;
    }
  }
  if (event_source_ && timers_.empty()) {
    event_source_->poll(true);
  } else {
    if (event_source_) event_source_->poll(false);
    if (ready_.is_empty()) wait_without_source();
  }
  return true;
}

void Loop::wait_without_source() {
  std::unique_lock lock(posted_mutex_);
  const auto has_posted = [this] { return !posted_.is_empty(); };
  // With an event source, whose completions do not signal the condition variable, sleeps only
  // briefly.
  constexpr auto kShort = std::chrono::milliseconds(1);
  if (timers_.empty()) {
    posted_changed_.wait(lock, has_posted);
  } else {
    Clock::time_point until = timers_.begin()->first;
    if (event_source_ && operations_ > 0) until = std::min(until, Clock::now() + kShort);
    posted_changed_.wait_until(lock, until, has_posted);
  }
}

}  // namespace byre
