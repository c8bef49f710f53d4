// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "block/block_device.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {

// Lets the host copy between raw images in files (`convert -C`): file systems that share blocks
// copy nothing at all, and no byte passes through this process. Zero bytes are copied like any
// others.
class CopyOffload {
 public:
  // Both outlive it.
  CopyOffload(const SourceSequence& source, BlockDevice& target);

  // Copies the range to the same offset of the target. False if that is not possible; then the
  // range must be copied in the ordinary way, and once the host has refused, so must everything
  // after it.
  Task<bool> copy(uint64_t offset, uint64_t length);

 private:
  const SourceSequence& source_;
  BlockDevice& target_;
  bool was_refused_ = false;
};

}  // namespace byre::jobs
