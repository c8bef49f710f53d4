// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "async/cancellation.h"
#include "async/mutex.h"
#include "async/task.h"
#include "async/when_all.h"
#include "block/buffer.h"
#include "jobs/copy_failure.h"

namespace byre::jobs {

// The memory for a piece in flight, allocated when it is first needed.
class PieceBuffer {
 public:
  explicit PieceBuffer(uint64_t size_max) : size_max_(size_max) {}
  Bytes get(uint64_t length) {
    if (buffer_.size() == 0 && length != 0) buffer_ = Buffer(size_max_);
    return buffer_.bytes(0, length);
  }

 private:
  uint64_t size_max_;
  Buffer buffer_;
};

// Works through a job in pieces, several of them in flight, so that one's read overlaps another's write
// or comparison. The job, which outlives it, has
//
//   struct Piece { uint64_t offset; ... };
//   struct Memory;                                // for one piece in flight
//   Memory make_memory() const;
//   Task<std::optional<Piece>> next();            // in order, one call at a time; nothing: no more
//   uint64_t position() const;                    // up to which next() has come
//   Task<void> process(Piece& piece, Memory& memory);
//
// After a failure no more pieces are taken; those that were taken before are completed. Everything below
// the failed piece has then been tried, so that the lowest failure is the one that a job without
// concurrency would have met.
template <class Job>
class Pipeline {
 public:
  // `cancellation` may be nullptr; a request to it is a failure.
  Pipeline(Job* job, unsigned in_flight, const Cancellation* cancellation)
      : job_(*job), in_flight_(std::max(1u, in_flight)), cancellation_(cancellation) {}

  // Until the job has no more pieces, or something has failed. Throws nothing that the job throws.
  Task<void> run() {
    std::vector<Task<void>> workers;
    for (unsigned i = 0; i < in_flight_; ++i) workers.push_back(work());
    co_await when_all(std::move(workers));
  }

  const CopyFailure& failure() const { return failure_; }

 private:
  using Piece = typename Job::Piece;

  Task<void> work() {
    typename Job::Memory memory = job_.make_memory();
    while (true) {
      std::optional<Piece> piece = co_await take();
      if (!piece.has_value()) break;
      const uint64_t offset = piece->offset;
      try {
        co_await job_.process(*piece, memory);
      } catch (...) {
        failure_.note(offset, std::current_exception());
      }
    }
  }

  Task<std::optional<Piece>> take() {
    std::optional<Piece> piece;
    const auto guard = co_await mutex_.lock();
    if (failure_.is_set()) co_return piece;
    try {
      if (cancellation_ != nullptr) cancellation_->check();
      piece = co_await job_.next();
    } catch (...) {
      failure_.note(job_.position(), std::current_exception());
    }
    co_return piece;
  }

  Job& job_;
  const unsigned in_flight_;
  const Cancellation* const cancellation_;
  Mutex mutex_;
  CopyFailure failure_;
};

}  // namespace byre::jobs
