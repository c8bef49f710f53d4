// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>

#include "async/detached.h"
#include "async/loop.h"
#include "async/task.h"

namespace byre::cli::io {

// Requests that run in parallel and are not awaited individually: those of aio_read and aio_write.
// They run whenever their loop runs. All must have ended before the group is destroyed.
class RequestGroup {
 public:
  RequestGroup() = default;
  ~RequestGroup() { BYRE_ASSERT(in_flight_ == 0); }
  RequestGroup(const RequestGroup&) = delete;
  RequestGroup& operator=(const RequestGroup&) = delete;

  // Starts the request, runs it to its first suspension, and returns.
  Task<void> start(Task<void> request);
  // Waits until none is left, including those that are started meanwhile. Throws the first error
  // that a request has thrown since the last call: one that it could not report itself, for lack of
  // memory.
  Task<void> wait_for_all();

  uint64_t in_flight() const { return in_flight_; }

 private:
  static Detached run(RequestGroup* group, Task<void> request);
  void one_ended();

  uint64_t in_flight_ = 0;
  std::exception_ptr error_;
  WaiterList waiting_;
};

}  // namespace byre::cli::io
