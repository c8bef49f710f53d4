// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/cancellation.h"
#include "jobs/progress.h"
#include "qcow2/amend/amend_progress.h"

namespace byre::jobs {

// The progress of a job that changes an image in a few steps, which count equally. A step can be
// stopped while it goes on.
class AmendProgress {
 public:
  // `progress` and `cancellation` may be nullptr; else they outlive it.
  AmendProgress(Progress* progress, const Cancellation* cancellation, uint64_t steps)
      : progress_(progress), cancellation_(cancellation), steps_(steps) {}

  // For the step that goes on. It must not outlive this object.
  qcow2::AmendProgress step() {
    return [this](uint64_t done, uint64_t total) {
      if (cancellation_ != nullptr) cancellation_->check();
      const uint64_t part = total == 0 ? 0 : done * kStep / total;
      report(finished_ * kStep + (part < kStep ? part : kStep));
    };
  }
  // Throws Error(kCancelled) if the job is to stop between this step and the next one.
  void finish_step() {
    report(++finished_ * kStep);
    if (cancellation_ != nullptr && finished_ < steps_) cancellation_->check();
  }
  void finish() {
    if (progress_ != nullptr) progress_->update(1, 1);
  }

 private:
  static constexpr uint64_t kStep = 10'000;

  void report(uint64_t done) {
    if (progress_ != nullptr) progress_->update(done, steps_ * kStep);
  }

  Progress* progress_;
  const Cancellation* cancellation_;
  uint64_t steps_;
  uint64_t finished_ = 0;
};

}  // namespace byre::jobs
