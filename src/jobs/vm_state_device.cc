// SPDX-License-Identifier: Apache-2.0
#include "jobs/vm_state_device.h"

#include "block/buffer.h"

namespace byre::jobs {

// Zero bytes, as QEMU saves them.
Task<void> VmStateDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  const Buffer zeroes(length);
  const WriteBuffers from(zeroes.bytes());
  co_await image_.write_vm_state(offset, from);
}

Task<void> VmStateDevice::do_resize(uint64_t, Preallocation) {
  return ready();
}

}  // namespace byre::jobs
