// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "async/task.h"
#include "storage/host_file.h"

namespace byre::storage {

// Where a file of the host has allocated space and where it has holes, and how to make and fill
// holes without writing bytes. What the file system turns out not to support is remembered and not
// tried again; it returns EOPNOTSUPP. Errors are positive errno values.
class FileSpace {
 public:
  // `alignment`: the host requires ranges to be a multiple of it; 1 for regular files. From
  // `untouched_from` on the file has no space yet.
  FileSpace(HostFile* file, bool is_block_device, uint32_t alignment, uint64_t untouched_from)
      : file_(file),
        is_block_device_(is_block_device),
        alignment_(alignment),
        untouched_from_(untouched_from) {}

  // Past this offset a file of that size has no data: the end of its first run of data, if that is
  // the only one; otherwise `size`.
  static uint64_t end_of_data(int fd, uint64_t size);

  uint32_t alignment() const { return alignment_; }

  // Makes the range read as zeroes; with `may_unmap` preferably as a hole. A range that ends past
  // the end of a regular file extends the file, unless `may_unmap` is set, which leaves its size.
  // Without `may_write` no call is made that a device may implement by writing zeroes.
  Task<int> zero(uint64_t offset, uint64_t length, bool may_unmap, bool may_write);
  // Releases the space. The contents are lost or stay.
  Task<int> discard(uint64_t offset, uint64_t length);
  // Allocates space for the range; the file grows to its end.
  Task<int> allocate(uint64_t offset, uint64_t length);

  // Must be called before each write begins. Returns whether it is a large write into unallocated
  // space, so that prepare() is worthwhile.
  bool note_write(uint64_t offset, uint64_t length);
  // Allocates the space for such a write if the file system is known to write faster then. The
  // file's size stays. Errors are left for the write to report.
  Task<void> prepare(uint64_t offset, uint64_t length);
  // The file now ends at `size`; everything past it is gone.
  void note_end(uint64_t size) { untouched_from_ = std::min(untouched_from_, size); }

  struct Run {
    uint64_t end;  // above the given offset
    bool is_hole;
  };
  // The run that starts at `offset`, inside the file. Data if the file system does not report
  // holes.
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
  uint64_t untouched_from_;  // past it no space was found or allocated here
  std::optional<bool> preparing_pays_;
  // The last run of data that was found: it stays data, or may at least be reported as data.
  uint64_t data_start_ = 0;
  uint64_t data_end_ = 0;
};

}  // namespace byre::storage
