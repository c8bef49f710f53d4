// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "block/block_device.h"
#include "byre/error.h"

// The refusals of a device whose size is fixed: a disk of the host, which does not grow as a file
// does.
namespace byre {

// It has fewer bytes than `size`.
Error device_too_small(const BlockDevice& device, uint64_t size);
// Space can only be allocated in advance in a file.
Error preallocation_on_device(const BlockDevice& device, Preallocation preallocation);

}  // namespace byre
