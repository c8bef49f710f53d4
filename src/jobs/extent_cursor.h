// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "block/block_device.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {

// Walks along the extents of an image.
class ExtentCursor {
 public:
  explicit ExtentCursor(const SourceSequence& source) : source_(source) {}

  // The extent that contains `offset`, which must be inside the image and not before that of the
  // last call: its part from `offset` on.
  Task<Extent> at(uint64_t offset);

 private:
  static constexpr uint64_t kAskedMax = uint64_t{1} << 30;

  const SourceSequence& source_;
  std::vector<Extent> known_;
  size_t index_ = 0;
};

}  // namespace byre::jobs
