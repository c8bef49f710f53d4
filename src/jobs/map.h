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

// Where the bytes of a range of an image lie, the whole chain of backing files seen as one.
struct MapJob {
  std::string filename;
  open::ImageOptions image;
  uint64_t start_offset = 0;
  std::optional<uint64_t> max_length;  // bytes; nothing: to the end
  // Called for each run of bytes that are in the same state and, where they have a place, lie in
  // one piece: neighbours differ. In order, without gaps; once, with an empty run, for an empty
  // range. Extent::file is good until it returns. What it throws ends the job.
  std::function<void(const Extent&)> on_extent;
  std::function<void()> on_open;  // the image is open, the first run is still to come; may be empty
  const Cancellation* cancellation = nullptr;
};

Task<void> map(MapJob job);

}  // namespace byre::jobs
