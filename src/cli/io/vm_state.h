// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "block/block_device.h"

// The area past the end of a qcow2 image's disk in which QEMU stores the VM state: `read -b`,
// `write -b`.
namespace byre::cli::io {

// Throw Error(ENOTSUP) for a device without one.
Task<void> read_vm_state(BlockDevice& device, uint64_t offset, ReadBuffers to);
Task<void> write_vm_state(BlockDevice& device, uint64_t offset, WriteBuffers from);

// Throws Refusal unless both are multiples of 512, which -b requires.
void check_sectors(int64_t offset, uint64_t length);

}  // namespace byre::cli::io
