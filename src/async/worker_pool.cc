// SPDX-License-Identifier: Apache-2.0
#include "async/worker_pool.h"

#include <algorithm>

namespace byre {

WorkerPool::WorkerPool(unsigned threads_max) : threads_max_(std::max(threads_max, 1u)) {}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    BYRE_ASSERT(jobs_.first == nullptr);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

WorkerPool& WorkerPool::shared() {
  static WorkerPool pool(std::max(2u, std::thread::hardware_concurrency()));
  return pool;
}

void WorkerPool::append(JobList* list, JobBase* job) {
  job->next = nullptr;
  (list->first == nullptr ? list->first : list->last->next) = job;
  list->last = job;
}

WorkerPool::JobBase* WorkerPool::take_first(JobList* list) {
  JobBase* const job = list->first;
  if (job != nullptr) list->first = job->next;
  return job;
}

void WorkerPool::push(JobBase* job) {
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  std::unique_lock lock(mutex_);
  if (job->line != nullptr && job->line->is_busy_.exchange(true, std::memory_order_relaxed)) {
    append(&job->line->waiting_, job);
    return;
  }
  append(&jobs_, job);
  ++queued_;
  if (queued_ > idle_ && threads_.size() < threads_max_) {
    threads_.emplace_back([this] { work(); });
  }
  lock.unlock();
  changed_.notify_one();
}

// Who has done a job of a line goes on with the next one.
WorkerPool::JobBase* WorkerPool::next_in_line(Line* line) {
  std::lock_guard lock(mutex_);
  JobBase* const next = take_first(&line->waiting_);
  if (next == nullptr) line->is_busy_.store(false, std::memory_order_relaxed);
  return next;
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    while (jobs_.first == nullptr && !stopping_) {
      ++idle_;
      changed_.wait(lock);
      --idle_;
    }
    if (jobs_.first == nullptr) return;
    JobBase* job = take_first(&jobs_);
    --queued_;
    lock.unlock();
    while (job != nullptr) {
      job->execute();
      JobBase* const next = job->line != nullptr ? next_in_line(job->line) : nullptr;
      unfinished_.fetch_sub(1, std::memory_order_relaxed);
      // The job lives in the frame of the waiting coroutine, which may go on at once, and the line
      // with it where it was the last one.
      job->loop->schedule_from_any_thread(job->waiting);
      job = next;
    }
    lock.lock();
  }
}

}  // namespace byre
