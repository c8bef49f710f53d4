// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"

namespace byre::qcow2 {

// Changes bytes of the first cluster of an image under repair: everything that was written before is
// durable first, and the change is when the task ends. `file` must outlive the task.
inline Task<void> write_to_header(BlockDevice* file, uint64_t offset, std::vector<uint8_t> bytes) {
  co_await file->flush();
  const WriteBuffers from((ConstBytes(bytes)));
  co_await file->write(offset, from, WriteFlags::kNone);
  co_await file->flush();
}

}  // namespace byre::qcow2
