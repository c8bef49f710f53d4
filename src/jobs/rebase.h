// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "async/cancellation.h"
#include "async/task.h"
#include "jobs/progress.h"
#include "open/open.h"

namespace byre::jobs {

// Gives an image another backing file: `rebase` as a whole.
struct RebaseJob {
  std::string filename;
  open::ImageOptions image;
  // The new backing file's name and format, as they are stored in the image; nothing, or an empty
  // name: none. A relative name is relative to the image's directory.
  std::optional<std::string> backing;
  std::optional<std::string> backing_format;
  open::ImageOptions backing_image;  // how it is opened
  // Only the names in the image change: nothing is opened but the image, and what it does not have
  // itself changes.
  bool is_unsafe = false;
  bool compressed = false;  // what is copied is stored compressed
  // Called, before anything is written, with the names of the internal snapshots that may read as
  // something else afterwards: what they take from the backing file is not copied. Looking for them
  // reads their tables. May be empty.
  std::function<void(const std::vector<std::string>&)> on_changed_snapshots;
  // These outlive the job, and may be nullptr.
  Progress* progress = nullptr;
  const Cancellation* cancellation = nullptr;
};

// Copies what the disk reads differently with the new backing file into the image, makes that
// durable, and changes the backing file in the header, which happens as a whole or not at all. So
// the disk reads the same before, during and after, also if the job fails, is stopped, or the power
// fails; run again, it does what is left. It reads only what may differ, see RebaseSource.
//
// What can be found wrong is found before anything is copied.
Task<void> rebase(RebaseJob job);

}  // namespace byre::jobs
