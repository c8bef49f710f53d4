// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/detached.h"
#include "async/loop.h"
#include "async/task.h"

namespace byre::cli::io {

// Requests that run beside one another and that nobody awaits one by one: those of aio_read and
// aio_write. They go on whenever their loop runs. All have ended before the group is destroyed.
class RequestGroup {
 public:
  RequestGroup() = default;
  ~RequestGroup() { BYRE_ASSERT(in_flight_ == 0); }
  RequestGroup(const RequestGroup&) = delete;
  RequestGroup& operator=(const RequestGroup&) = delete;

  // Begins the request, which runs to its first wait, and goes on. The request throws nothing.
  Task<void> start(Task<void> request);
  // Waits until none is left, those that begin meanwhile included.
  Task<void> wait_for_all();

  uint64_t in_flight() const { return in_flight_; }

 private:
  static Detached run(RequestGroup* group, Task<void> request);
  void one_ended();

  uint64_t in_flight_ = 0;
  WaiterList waiting_;
};

}  // namespace byre::cli::io
