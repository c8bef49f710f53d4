// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/cancellation.h"
#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/create/create.h"

namespace byre::jobs {

// How large the file of a new image would be.
struct MeasureReport {
  qcow2::Measured file;
  // Of the source's bitmaps in the new image, tables and directory included; nothing where source
  // or target cannot have any.
  std::optional<uint64_t> bitmaps_size;
};

// `source`: the image that would be copied; nullptr: nothing, and the disk would have `size` bytes.
// As a raw image.
MeasureReport measure_raw(const BlockDevice* source, uint64_t size);
// As a qcow2 image with these options, of which `size` does not count. Throws Error in QEMU's words
// for options that cannot be, before anything is read. `source` and `cancellation` outlive the
// task.
Task<MeasureReport> measure_qcow2(BlockDevice* source, uint64_t size, qcow2::CreateOptions options,
                                  const Cancellation* cancellation);

}  // namespace byre::jobs
