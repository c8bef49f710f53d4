// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "base/units.h"
#include "block/block_device.h"
#include "block/buffer.h"

namespace byre {

// Writes tables to a device, one after another. Pieces that adjoin are joined into large writes;
// nothing is flushed.
class GatheringWriter {
 public:
  static constexpr uint64_t kPieceMax = 4 * kMiB;

  // `device` outlives it.
  explicit GatheringWriter(BlockDevice* device) : device_(device) {}

  // Room for `length` bytes at `offset`, at most kPieceMax, zeroed. The caller fills it before the
  // next call.
  Task<Bytes> reserve(uint64_t offset, uint64_t length);
  // The bytes of any length.
  Task<void> write(uint64_t offset, ConstBytes bytes);
  // Writes what is still in memory. Call it after the last piece.
  Task<void> finish();

 private:
  Task<Bytes> make_room(uint64_t offset, uint64_t length);

  BlockDevice* device_;
  Buffer buffer_;
  uint64_t offset_ = 0;
  uint64_t used_ = 0;
};

}  // namespace byre
