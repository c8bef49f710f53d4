// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "async/task.h"
#include "jobs/progress.h"
#include "open/open.h"
#include "qcow2/checker.h"

namespace byre::jobs {

// Checks an image, alone: changes nothing, reads nothing of its backing files, though they must
// open.
struct CheckJob {
  std::string filename;
  open::ImageOptions image;
  qcow2::CheckOptions options;
  Progress* progress = nullptr;  // outlives the task
};

struct CheckReport {
  std::string filename;
  std::string format;
  // Nothing: images of this format have nothing to check.
  std::optional<qcow2::CheckResult> result;
};

// Throws Error("Check failed: ...") where the check could not be carried to its end.
Task<CheckReport> check(CheckJob job);

}  // namespace byre::jobs
