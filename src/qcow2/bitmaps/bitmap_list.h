// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/geometry.h"

namespace byre::qcow2 {

// The bitmaps of an image, as its bitmap directory lists them (specification: "Bitmaps"); none
// without the extension. Checks what QEMU checks when it opens an image: the directory, and the
// table of each bitmap that is not in use. Throws Error without the file's name. `disk_size` in bytes; `file` must outlive the task. Reads each table once, however many
// bitmaps name it, and skips holes, so that the work is bounded by the data that the file holds.
Task<std::vector<layout::BitmapEntry>> read_bitmap_list(BlockDevice* file,
                                                        layout::Extensions extensions,
                                                        layout::Geometry geometry,
                                                        uint64_t disk_size);

}  // namespace byre::qcow2
