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

// Reads guest bytes of an image. A run of contiguous host clusters is one storage read, whatever
// its length; compressed clusters are decompressed on the worker pool, several at once; unallocated
// ranges are read from the backing file, and are zeroes past its end.
//
// Part of ImageParts. Any number of read() calls may be in flight.
class Reader {
 public:
  Reader(Context* context, Mapping* mapping);
  ~Reader();

  // [offset, offset + to.size()) is inside the disk or its last cluster: the part of that cluster
  // past the disk's end is read like any other (copy on write needs it). Acquires no lock.
  // REQUIRES: the caller holds Context::guest_lock for the range, if the image may be written.
  Task<void> read(GuestOffset offset, ReadBuffers to);
  // From the backing file alone: zeroes past its end, or where there is none.
  Task<void> read_backing(GuestOffset offset, ReadBuffers to);
  // Drops cached decompressed clusters whose compressed bytes are in the range: they were freed.
  void drop_compressed(HostOffset host_offset, uint64_t length);
  // The same for all of them: many clusters were freed at once.
  void drop_all_compressed() { drop_compressed(HostOffset(), UINT64_MAX); }

 private:
  Task<void> read_plain(const GuestRun& run, ReadBuffers to);
  Task<void> read_runs(GuestRun run, ReadBuffers to);

  Context* context_;
  Mapping* mapping_;
  std::unique_ptr<CompressedReader> compressed_;
};

}  // namespace byre::qcow2
