// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "async/task.h"
#include "block/block_device.h"
#include "open/open.h"

namespace byre::jobs {

// The size that an image is to get.
struct SizeChange {
  enum class Kind { kTo, kGrow, kShrink };

  Kind kind = Kind::kTo;
  uint64_t size = 0;
};

// Another size for the disk of an image that is named: `resize` as a whole.
struct ResizeJob {
  std::string filename;  // a name, as for open::open_image(); of options if image.name_is_tree
  open::ImageOptions image;
  SizeChange change;
  Preallocation preallocation = Preallocation::kOff;  // of the new bytes
  bool may_shrink = false;
};

// The code of the error of a job that would shrink the image and may not.
inline constexpr Literal kShrinkNotAllowed = "resize-shrinks";

// Opens the image, resizes it, and closes it; then the new size is durable. Error messages are QEMU's.
// An image that cannot be resized is sound: it has the old size, and the hint says so; or the new one,
// if only closing it failed.
Task<void> resize(ResizeJob job);

// The same for an image that is open: the new size is durable when it is done, and an external data
// file has it, too.
Task<void> resize_open(BlockDevice* device, uint64_t size, Preallocation preallocation);

}  // namespace byre::jobs
