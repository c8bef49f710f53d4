// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "block/block_device.h"

// The area past the end of a qcow2 image's disk in which QEMU stores the state of a virtual machine.
// `offset` counts from its start. Limits and errors are those of reads and writes of the disk.
namespace byre::jobs {

// Throw Error(kUnsupported, ENOTSUP) for a device without such an area.
Task<void> read_vm_state(BlockDevice& device, uint64_t offset, ReadBuffers to);
Task<void> write_vm_state(BlockDevice& device, uint64_t offset, WriteBuffers from);

}  // namespace byre::jobs
