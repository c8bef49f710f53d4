// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace byre {

// Receives the progress of a job. Called on the job's loop, often; must be cheap. `total` may
// change as more becomes known; done <= total. A job that finished has called update(total, total).
class Progress {
 public:
  virtual ~Progress() = default;
  virtual void update(uint64_t done, uint64_t total) = 0;
  // Whether anybody watches, so that it is worth walking the source once to find out how much work
  // there is; otherwise the total is the size of the disk.
  virtual bool is_watched() const { return true; }
};

}  // namespace byre
