// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/cancellation.h"
#include "async/task.h"
#include "block/block_device.h"
#include "open/creation_options.h"
#include "open/image_creation.h"

namespace byre::jobs {

// The size of the file of a new image.
struct MeasureReport {
  open::NewImageSize file;
  // The size of the source's bitmaps in the new image, including tables and directory; nothing if
  // source or target cannot have any.
  std::optional<uint64_t> bitmaps_size;
};

// `source`: the image that would be copied; nullptr: an empty disk of `size` bytes. The size among
// the new image's options is ignored. Throws Error for invalid options, before
// anything is read. `source` and `cancellation` outlive the task.
Task<MeasureReport> measure(BlockDevice* source, uint64_t size, open::CreationOptions options,
                            const Cancellation* cancellation);

}  // namespace byre::jobs
