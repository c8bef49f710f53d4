// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "async/cancellation.h"
#include "async/task.h"
#include "byre/warning.h"
#include "jobs/dd.h"

namespace byre::jobs {

// A copy of a part of an image that is named into a new image that is named: `dd` as a whole.
struct DdJob {
  std::string input;  // a name, as for open::open_image(), or a list of options
  bool input_is_options = false;
  std::optional<std::string> input_format;  // nothing: probed
  bool reads_pipes = false;                 // "-" is the standard input
  std::string output;
  std::string output_format = "raw";
  DdRange range;
  // Images that other processes have open are opened even so; no locks are taken.
  bool force_share = false;

  // The range begins past the end of what is to be copied: the new image is empty.
  std::function<void()> on_cannot_skip;
  // Sentences about options.
  std::function<void(const std::string&)> on_warning;
  // See open::ImageOptions::on_warning.
  OnWarning on_open_warning;
  const Cancellation* cancellation = nullptr;  // outlives the job
};

// Opens the input, creates the output, copies, and closes both. Error messages and the order of the
// steps are QEMU's. If it fails, the files that it created are removed.
Task<void> dd_images(DdJob job);

}  // namespace byre::jobs
