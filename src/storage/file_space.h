// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "async/task.h"
#include "storage/host_file.h"

namespace byre::storage {

// Where a file of the host has space behind it and where it has holes, and how to make and fill
// holes without writing bytes. What the file system turns out not to do is remembered and not
// asked for again; it gives EOPNOTSUPP. Errors are positive errno values.
class FileSpace {
 public:
  // `alignment`: what the host wants ranges to be a multiple of; 1 for regular files. From
  // `untouched_from` on the file has no space yet.
  FileSpace(HostFile* file, bool is_block_device, uint32_t alignment, uint64_t untouched_from)
      : file_(file),
        is_block_device_(is_block_device),
        alignment_(alignment),
        untouched_from_(untouched_from) {}

  uint32_t alignment() const { return alignment_; }

  // Makes the range read as zeroes; with `may_unmap` preferably a hole. A range that ends past the
  // end of a regular file makes the file larger, unless `may_unmap`, which leaves its size. Without
  // `may_write` nothing is asked for that a device may do by writing zeroes.
  Task<int> zero(uint64_t offset, uint64_t length, bool may_unmap, bool may_write);
  // Gives the space back. The contents are lost or stay.
  Task<int> discard(uint64_t offset, uint64_t length);
  // Takes space for the range; the file grows to its end.
  Task<int> allocate(uint64_t offset, uint64_t length);

  // To be told of each write before it begins: whether it is a large one into space that is still
  // to be taken, so that prepare() pays before it.
  bool note_write(uint64_t offset, uint64_t length);
  // Takes the space of such a write where the file system is known to write faster then. The file's
  // size stays. What goes wrong is for the write to tell.
  Task<void> prepare(uint64_t offset, uint64_t length);
  // The file ends at `size` now; what was behind it is gone.
  void note_end(uint64_t size) { untouched_from_ = std::min(untouched_from_, size); }

  struct Run {
    uint64_t end;  // above the offset that was asked for
    bool is_hole;
  };
  // From `offset` on, inside the file. Data where the file system does not know better.
  Run find(uint64_t offset, uint64_t file_size);

 private:
  Task<int> try_mode(int mode, bool* is_refused, uint64_t offset, uint64_t length);

  HostFile* file_;
  bool is_block_device_;
  uint32_t alignment_;
  bool punch_is_refused_ = false;
  bool zero_range_is_refused_ = false;
  bool zero_out_is_refused_ = false;
  bool discard_is_refused_ = false;
  bool allocate_is_refused_ = false;
  bool seek_is_refused_ = false;
  uint64_t untouched_from_;  // behind it no space was found or taken here
  std::optional<bool> preparing_pays_;
  // The last run of data that was found: it stays data, or at least may be called so.
  uint64_t data_start_ = 0;
  uint64_t data_end_ = 0;
};

}  // namespace byre::storage
