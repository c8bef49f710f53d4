// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <coroutine>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "async/loop.h"

namespace byre {

// Threads for work that would block a loop's other requests: compression, encryption, scanning, and
// blocking host calls. A coroutine passes a plain function to the pool and resumes, on its own
// loop, with the result. Threads are created when there is work for them. On a simulated loop the
// function is executed on the loop, before the coroutine yields, so that runs are reproducible. If the host
// refuses another thread, the existing ones do the work; if there are none, the loop does it
// itself.
//
// run() may be called from any loop; the pool outlives every task that uses it.
class WorkerPool {
  struct JobBase;
  struct JobList {
    JobBase* first = nullptr;
    JobBase* last = nullptr;
  };

 public:
  // A strand: jobs that run one at a time, in order of arrival, for example jobs for which the
  // kernel holds one lock, so that a second worker would spin. A worker that runs them continues
  // until none is left. It outlives its jobs, which all belong to one loop.
  class Strand {
   public:
    // Whether a job is waiting or running.
    bool is_busy() const { return is_busy_.load(std::memory_order_relaxed); }

   private:
    friend class WorkerPool;
    JobList waiting_;  // guarded by the pool's mutex
    std::atomic<bool> is_busy_ = false;
  };

  // Starts a thread that calls the function; throws std::system_error if no thread can be created.
  using ThreadStarter = std::function<std::thread(std::function<void()>)>;

  explicit WorkerPool(unsigned threads_max, ThreadStarter start_thread = nullptr);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // The pool of the process: as many threads as processors, at least 2, created on first use.
  static WorkerPool& shared();
  unsigned threads_max() const { return threads_max_; }

  // Whether any loop has unfinished work; it may finish a moment later. From any thread.
  bool is_busy() const { return unfinished_.load(std::memory_order_relaxed) != 0; }

  // `co_await pool.run(function)`: runs the function on a worker thread, and returns or throws what
  // it does; with a strand, after that strand's earlier jobs. The function and everything it refers to
  // must live until then; the caller's locals do.
  template <class F>
  auto run(F function, Strand* strand = nullptr) {
    return Job<F>(this, strand, std::move(function));
  }

 private:
  struct JobBase {
    virtual void execute() noexcept = 0;
    JobBase* next = nullptr;
    Strand* strand = nullptr;  // nullptr: of none
    Loop* loop = nullptr;
    Waiter waiting;

   protected:
    ~JobBase() = default;
  };

  template <class F>
  class Job final : public JobBase {
   public:
    using Result = std::invoke_result_t<F&>;

    Job(WorkerPool* pool, Strand* of, F function) : pool_(pool), function_(std::move(function)) {
      strand = of;
    }

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) {
      loop = &Loop::current();
      waiting.coroutine = self;
      if (loop->is_simulated()) {
        execute();
        loop->schedule(&waiting);
        return;
      }
      loop->operation_started();
      counted_ = true;
      pool_->push(this);
    }
    Result await_resume() {
      if (counted_) loop->operation_finished();
      if (error_) std::rethrow_exception(error_);
      if constexpr (!std::is_void_v<Result>) return std::move(*result_);
    }

   private:
    struct Nothing {};
    using Stored = std::conditional_t<std::is_void_v<Result>, Nothing, Result>;

    void execute() noexcept override {
      try {
        if constexpr (std::is_void_v<Result>) {
          function_();
        } else {
          result_.emplace(function_());
        }
      } catch (...) {
        error_ = std::current_exception();
      }
    }

    WorkerPool* pool_;
    F function_;
    std::optional<Stored> result_;
    std::exception_ptr error_;
    bool counted_ = false;
  };

  void push(JobBase* job);
  // Creates another thread if that helps; false if there is none at all.
  // REQUIRES: mutex_ is held.
  bool provide_thread();
  void work();
  void do_jobs(JobBase* first);
  JobBase* next_of(Strand* strand);
  static void append(JobList* list, JobBase* job);
  static JobBase* take_first(JobList* list);

  const unsigned threads_max_;
  const ThreadStarter start_thread_;
  std::atomic<unsigned> unfinished_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  JobList jobs_;  // guarded by mutex_, as are all below
  unsigned idle_ = 0;
  unsigned queued_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace byre
