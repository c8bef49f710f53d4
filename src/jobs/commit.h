// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "async/cancellation.h"
#include "async/task.h"
#include "jobs/progress.h"
#include "open/open.h"

namespace byre::jobs {

// Copies what an image has into an image of its backing chain: `commit` as a whole.
struct CommitJob {
  std::string filename;
  open::ImageOptions image;
  // The image to copy into, as its name is stored or as it was found; nothing: the backing file.
  // The images between the two are copied as well, and are invalid afterwards.
  std::optional<std::string> base;
  // The image is emptied afterwards: it takes no space any more. Otherwise it stays as it is.
  bool empties = true;
  uint64_t bytes_per_second = 0;  // 0: unlimited
  // These outlive the job, and may be nullptr.
  Progress* progress = nullptr;
  const Cancellation* cancellation = nullptr;
};

// Opens the chain, makes the base as large as the image if it is smaller, copies what the images
// above the base determine, data and zeroes, flushes the base, and only then empties the image. If
// it fails or is stopped before, every image above the base reads as before, and running it again
// does what is left.
Task<void> commit(CommitJob job);

// The copy alone, of open devices: `base`, which is writable, is `depth` images below `top`. It is
// durable when this is done. Of the job only its rate, progress and cancellation count.
Task<void> copy_into_base(BlockDevice* top, BlockDevice* base, uint32_t depth,
                          const CommitJob* job);

}  // namespace byre::jobs
