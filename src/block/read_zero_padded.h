// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "block/block_device.h"

namespace byre {

// Reads from a device as if it had no end: bytes past its size are zeroes. The last cluster of an
// image may be truncated, and a backing file may be shorter than its overlay.
Task<void> read_zero_padded(BlockDevice* device, uint64_t offset, ReadBuffers to);

}  // namespace byre
