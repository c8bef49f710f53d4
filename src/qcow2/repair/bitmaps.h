// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/header.h"

namespace byre::qcow2 {

// Whether the directory that the extension names begins with these bitmaps, byte for byte.
Task<bool> begins_bitmap_directory(BlockDevice& file, layout::BitmapsExtension extension,
                                   std::vector<layout::BitmapEntry> bitmaps);

// Changes the bitmaps extension of an image in place, between two flushes. If it is not within one
// sector, the autoclear bit is cleared meanwhile: a power cut leaves the old bitmaps, the new ones,
// or, at worst, an image that says that its bitmaps are inconsistent.
class BitmapsSwitch {
 public:
  // Both must outlive it; `header` is updated with the autoclear bits.
  BitmapsSwitch(BlockDevice* file, layout::Header* header) : file_(file), header_(header) {}

  // nullopt: the image has no bitmaps any more.
  Task<void> write(std::optional<layout::BitmapsExtension> extension);

 private:
  Task<void> set_autoclear(uint64_t bits);
  Task<void> remove(uint64_t place, bool is_last);

  BlockDevice* file_;
  layout::Header* header_;
};

}  // namespace byre::qcow2
