// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

class Allocator;
class Linker;

// Allocates clusters, which read as zeroes, for guest bytes that have none: new ones at the end of
// the file, in large pieces. A failure keeps the clusters that were finished.
// REQUIRES: the caller holds Context::guest_lock exclusively for the range.
class Preallocator {
 public:
  Preallocator(Context* context, Allocator* allocator, Linker* linker)
      : context_(context), allocator_(allocator), linker_(linker) {}

  // Preallocates whole clusters in [begin, end), of which the last may end past `end`. kMetadata:
  // only the tables and the length of the file; kFalloc: the host allocates space; kFull: zeroes
  // are written. With an external data file only the tables are preallocated: its space is up to
  // its owner. Its bytes below `data_file_end` may be anything.
  Task<void> run(layout::GuestOffset begin, layout::GuestOffset end, Preallocation preallocation,
                 uint64_t data_file_end);

 private:
  // Maps at most `count` clusters to new ones; returns how many.
  Task<uint64_t> map_new(layout::GuestOffset begin, uint64_t count, Preallocation preallocation);
  Task<void> resize_file(uint64_t size, Preallocation preallocation);
  Task<ClusterRange> allocate(uint64_t count);
  Task<void> fill(ClusterRange range, Preallocation preallocation);
  // Clusters below `old_end` hold old bytes: their entries become zero clusters.
  Task<void> link(layout::GuestOffset begin, uint64_t count, layout::HostOffset host,
                  layout::HostOffset old_end);
  bool hides_old_bytes(Preallocation preallocation) const;

  Context* context_;
  Allocator* allocator_;
  Linker* linker_;
};

}  // namespace byre::qcow2
