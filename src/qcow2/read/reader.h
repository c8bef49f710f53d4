// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/read/mapping.h"

namespace byre::qcow2 {

class CompressedReader;

// Guest bytes out of an image: runs to bytes. A run of contiguous host clusters is one storage
// read, whatever its length; compressed clusters are decompressed on the worker pool, several at
// once; a backing file is asked for what the image leaves to it, and gives zeroes past its end.
//
// Part of the image's State. read() may be called many times at once.
class Reader {
 public:
  Reader(Context* context, Mapping* mapping);
  ~Reader();

  // [offset, offset + to.size()) lies inside the disk, or in its last cluster: the tail of a
  // cluster that is beyond the disk's end is read as any other (copy on write needs it). Takes no
  // lock; who reads an image that may be written holds Context::guest_lock.
  Task<void> read(GuestOffset offset, IoVector to);
  // From the backing file alone: zeroes past its end, or where there is none.
  Task<void> read_backing(GuestOffset offset, IoVector to);
  // Forgets decompressed clusters whose compressed bytes lie in the range: they were freed.
  void drop_compressed(HostOffset host_offset, uint64_t length);

 private:
  Task<void> read_plain(const Run& run, IoVector to);
  Task<void> read_runs(Run run, IoVector to);

  Context* context_;
  Mapping* mapping_;
  std::unique_ptr<CompressedReader> compressed_;
};

}  // namespace byre::qcow2
