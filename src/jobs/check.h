// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "async/task.h"
#include "jobs/progress.h"
#include "open/open.h"
#include "qcow2/image/image_check.h"

namespace byre::jobs {

// What a check finds and counts is the same for any format.
using qcow2::CheckOptions;
using qcow2::CheckResult;
using qcow2::Finding;
using qcow2::FindingKind;
using qcow2::RepairScope;
using qcow2::Severity;

// Checks one image, and repairs it if requested: reads nothing of its backing files, though they
// must open, and changes nothing except as a repair.
struct CheckJob {
  std::string filename;
  open::ImageOptions image;
  CheckOptions options;
  std::optional<RepairScope> repair;  // nothing: no repair
  bool drops_unreadable = false;      // see qcow2::RepairOptions
  // See qcow2::RepairOptions.
  std::function<void(uint64_t leaks_fixed, uint64_t corruptions_fixed)> on_fixed;
  Progress* progress = nullptr;  // outlives the task
};

struct CheckReport {
  std::string filename;
  std::string format;
  // Nothing: images of this format have nothing to check.
  std::optional<CheckResult> result;
  uint64_t leaks_fixed = 0;
  uint64_t corruptions_fixed = 0;
};

// Throws Error("Check failed: ...") if the check could not be completed.
Task<CheckReport> check(CheckJob job);

}  // namespace byre::jobs
