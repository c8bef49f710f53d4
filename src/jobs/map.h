// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "async/cancellation.h"
#include "async/task.h"
#include "block/block_device.h"
#include "open/open.h"

namespace byre::jobs {

// Where the bytes of a range of an image are stored, treating the whole chain of backing files as
// one.
struct MapJob {
  std::string filename;
  open::ImageOptions image;
  uint64_t start_offset = 0;
  std::optional<uint64_t> max_length;  // bytes; nothing: to the end
  // Called for each run of bytes that are in the same state and, if they have an offset,
  // contiguous: consecutive runs differ. In order, without gaps; once, with an empty run, for an
  // empty range. Extent::file is valid until it returns. An exception from it ends the job.
  std::function<void(const Extent&)> on_extent;
  std::function<void()> on_open;  // called after opening, before the first run; may be empty
  const Cancellation* cancellation = nullptr;
};

Task<void> map(MapJob job);

}  // namespace byre::jobs
