// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "async/cancellation.h"
#include "async/task.h"
#include "jobs/progress.h"
#include "open/open.h"

namespace byre::jobs {

// Other properties for an existing image: `amend` as a whole.
struct AmendJob {
  std::string filename;
  open::ImageOptions image;
  // Names and values of the format's options.
  std::vector<std::pair<std::string, std::string>> options;
  // What the wanted properties do not allow is removed from the image: its bitmaps.
  bool removes_bitmaps = false;
  // These outlive the job, and may be nullptr.
  Progress* progress = nullptr;
  const Cancellation* cancellation = nullptr;
};

// Opens the image, checks everything that is wanted, changes one property after another, each as a
// whole, and closes the image. If something is refused, nothing was changed. If the job fails later
// or is stopped, the image is sound, and running the job again does what is left; the hint says what
// the image has.
Task<void> amend(AmendJob job);

// The driver of an image, for its options.
Task<std::string> amended_format(std::string filename, open::ImageOptions image);

}  // namespace byre::jobs
