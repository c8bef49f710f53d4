// SPDX-License-Identifier: Apache-2.0
#include "async/worker_pool.h"

#include <algorithm>

namespace byre {

WorkerPool::WorkerPool(unsigned threads_max) : threads_max_(std::max(threads_max, 1u)) {}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    BYRE_ASSERT(first_ == nullptr);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

WorkerPool& WorkerPool::shared() {
  static WorkerPool pool(std::max(2u, std::thread::hardware_concurrency()));
  return pool;
}

void WorkerPool::push(JobBase* job) {
  unfinished_.fetch_add(1, std::memory_order_relaxed);
  std::unique_lock lock(mutex_);
  job->next = nullptr;
  (first_ == nullptr ? first_ : last_->next) = job;
  last_ = job;
  ++queued_;
  if (queued_ > idle_ && threads_.size() < threads_max_) {
    threads_.emplace_back([this] { work(); });
  }
  lock.unlock();
  changed_.notify_one();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    while (first_ == nullptr && !stopping_) {
      ++idle_;
      changed_.wait(lock);
      --idle_;
    }
    if (first_ == nullptr) return;
    JobBase* job = first_;
    first_ = job->next;
    --queued_;
    lock.unlock();
    job->execute();
    unfinished_.fetch_sub(1, std::memory_order_relaxed);
    // The job lives in the frame of the waiting coroutine, which may go on at once.
    job->loop->schedule_from_any_thread(job->waiting);
    lock.lock();
  }
}

}  // namespace byre
