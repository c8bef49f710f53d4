// SPDX-License-Identifier: Apache-2.0
#include "async/worker_pool.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

namespace byre {

namespace {

std::thread start_std_thread(std::function<void()> function) {
  return std::thread(std::move(function));
}

}  // namespace

WorkerPool::WorkerPool(unsigned threads_max, ThreadStarter start_thread)
    : threads_max_(std::max(threads_max, 1u)),
      start_thread_(start_thread ? std::move(start_thread) : start_std_thread) {
  threads_.reserve(threads_max_);
}

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
  if (job->strand != nullptr && job->strand->is_busy_.exchange(true, std::memory_order_relaxed)) {
    append(&job->strand->waiting_, job);
    return;
  }
  if (!provide_thread()) {
    lock.unlock();
    do_jobs(job);
    return;
  }
  append(&jobs_, job);
  ++queued_;
  lock.unlock();
  changed_.notify_one();
}

// Limits on processes are common in containers, and temporary: the next job tries again.
bool WorkerPool::provide_thread() {
  if (queued_ + 1 > idle_ && threads_.size() < threads_max_) {
    try {
      threads_.push_back(start_thread_([this] { work(); }));
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
  }
  return !threads_.empty();
}

// The worker that has finished a job of a strand continues with the next one.
WorkerPool::JobBase* WorkerPool::next_of(Strand* strand) {
  std::lock_guard lock(mutex_);
  JobBase* const next = take_first(&strand->waiting_);
  if (next == nullptr) strand->is_busy_.store(false, std::memory_order_relaxed);
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
    JobBase* const job = take_first(&jobs_);
    --queued_;
    lock.unlock();
    do_jobs(job);
    lock.lock();
  }
}

// Runs one job, and those that wait in its strand.
void WorkerPool::do_jobs(JobBase* first) {
  JobBase* job = first;
  while (job != nullptr) {
    job->execute();
    JobBase* const next = job->strand != nullptr ? next_of(job->strand) : nullptr;
    unfinished_.fetch_sub(1, std::memory_order_relaxed);
    // The job is in the frame of the waiting coroutine, which may resume at once; if this was the
    // strand's last job, the strand may be destroyed with it.
    job->loop->schedule_from_any_thread(&job->waiting);
    job = next;
  }
}

}  // namespace byre
