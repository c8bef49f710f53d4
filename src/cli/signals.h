// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/cancellation.h"

namespace byre::cli {

// While it exists, SIGINT, SIGTERM and SIGHUP ask the job to stop instead of killing the program; a
// second one kills it. The job throws Error(kCancelled), incomplete files are removed or left
// consistent, and run_program() then ends the process with the same signal, so that a shell sees
// what it expects. One at a time.
class InterruptibleScope {
 public:
  InterruptibleScope();
  ~InterruptibleScope();
  InterruptibleScope(const InterruptibleScope&) = delete;
  InterruptibleScope& operator=(const InterruptibleScope&) = delete;

  Cancellation& cancellation();
};

// The signal that requested the stop, or 0.
int received_signal();
// Ends the process with that signal; returns if there was none.
void die_from_received_signal();

}  // namespace byre::cli
