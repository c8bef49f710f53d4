// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "block/block_device.h"
#include "jobs/source_sequence.h"
#include "storage/file_device.h"

namespace byre::jobs {

// Lets the host copy between raw images in files (`convert -C`): file systems that share blocks
// copy nothing at all, and no byte passes through this process. Bytes that are zero are copied
// like any others.
class CopyOffload {
 public:
  // Both outlive it.
  CopyOffload(const SourceSequence& source, BlockDevice& target);

  // Copies the range to the same place of the target. False where that cannot be done so; then the
  // range has to be copied in the ordinary way, and once the host has refused, so has all the rest.
  Task<bool> copy(uint64_t offset, uint64_t length);

 private:
  const SourceSequence& source_;
  storage::FileDevice* target_;  // nullptr: cannot be done
};

}  // namespace byre::jobs
