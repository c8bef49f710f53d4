// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/cancellation.h"
#include "async/task.h"
#include "block/block_device.h"
#include "jobs/progress.h"

namespace byre::jobs {

// Copies into `image` what it would read differently if `base` were its backing file (nullptr: if it
// had none), in whole clusters or subclusters, and flushes it: the first part of a rebase, which
// changes nothing that can be read. The image must be open for writing, with its backing file.
//
// Errors name the image of either chain, and the offset: "rebase-old-unreadable",
// "rebase-new-unreadable", "rebase-write-failed", "rebase-extents-unreadable"; Error(kCancelled) soon
// after a request to `cancellation`. `progress` and `cancellation` may be nullptr.
Task<void> copy_differences(BlockDevice* image, BlockDevice* base, bool compressed,
                            Progress* progress, const Cancellation* cancellation);

}  // namespace byre::jobs
