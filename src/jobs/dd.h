// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/cancellation.h"
#include "block/block_device.h"

namespace byre::jobs {

// The part of its input that `dd` copies; in blocks, as specified by the user.
struct DdRange {
  uint64_t block_size = 512;  // at least 1
  std::optional<uint64_t> count;
  uint64_t skip = 0;
};

// The resulting bytes for an input of `input_size` bytes. As in QEMU, `count` counts from the start
// of the input, not from the end of `skip`; `can_skip` is false if `skip` reaches past what `count`
// leaves, and then there is nothing to copy.
struct DdPlan {
  uint64_t input_offset = 0;
  uint64_t length = 0;
  bool can_skip = true;
};
DdPlan plan_dd(const DdRange& range, uint64_t input_size);

// Copies the planned bytes to the start of `output`, all of them, including zeroes. Input and
// output are in whole sectors. Errors have the codes "dd-read-failed" and "dd-write-failed";
// Error(kCancelled).
Task<void> dd(BlockDevice& input, BlockDevice& output, DdPlan plan,
              const Cancellation* cancellation);

}  // namespace byre::jobs
