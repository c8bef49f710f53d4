// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/range_lock.h"
#include "async/task.h"
#include "block/io_vector.h"
#include "storage/host_file.h"

namespace byre::storage {

// Transfers of any offset, length and address on a file that was opened with O_DIRECT, where the
// host accepts only whole blocks in aligned memory.
//
// - An aligned request is passed to the file unchanged; any other goes through a buffer.
// - A write that covers part of a block first reads the rest of the block, and holds the block
//   exclusively (`ranges`) meanwhile, so that two writes to one block do not undo each other.
// - A block that extends past the end of the file is written whole, and the file is then truncated
//   to its proper size; everything from there on is held exclusively meanwhile.
//
// It belongs to a FileDevice and refers to that device's file, locks and size. Results are those of
// HostFile.
class DirectIo {
 public:
  DirectIo(HostFile* file, RangeLock* ranges, uint64_t* file_size, uint32_t request_alignment,
           uint32_t memory_alignment)
      : file_(file),
        ranges_(ranges),
        file_size_(file_size),
        request_alignment_(request_alignment),
        memory_alignment_(memory_alignment) {}

  Task<int> read(uint64_t offset, ReadBuffers to, size_t* done);
  Task<int> write(uint64_t offset, WriteBuffers from, bool durable);

 private:
  bool is_aligned(uint64_t offset, const IoVector& memory) const;
  Task<int> write_aligned(uint64_t offset, WriteBuffers from, bool durable);
  Task<int> write_piece(uint64_t offset, WriteBuffers from, bool durable);
  Task<int> read_block(uint64_t offset, uint8_t* to);

  HostFile* file_;
  RangeLock* ranges_;
  uint64_t* file_size_;
  uint32_t request_alignment_;
  uint32_t memory_alignment_;
};

}  // namespace byre::storage
