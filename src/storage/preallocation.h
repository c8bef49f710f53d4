// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "block/block_device.h"

namespace byre::storage {

// Throws an error if a file cannot be resized so: it has no metadata to preallocate, and what
// shrinks needs no space. For every device that stands for a file, those in memory as well, so that
// tests find callers that ask for it.
void check_file_preallocation(const BlockDevice& file, uint64_t new_size,
                              Preallocation preallocation);

}  // namespace byre::storage
