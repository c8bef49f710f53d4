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

// Gives guest bytes that have none clusters of their own, which read as zeroes: new ones at the end
// of the file, in large pieces. What fails leaves the clusters that were done. For who holds
// Context::guest_lock exclusive.
class Preallocator {
 public:
  Preallocator(Context* context, Allocator* allocator, Linker* linker)
      : context_(context), allocator_(allocator), linker_(linker) {}

  // Whole clusters in [begin, end), of which the last may end behind it. kMetadata: only the tables
  // and the length of the file; kFalloc: the host has space for them; kFull: zeroes are written.
  // With an external data file only the tables: its space is its owner's matter. What it has below
  // `data_file_end` may be anything.
  Task<void> run(layout::GuestOffset begin, layout::GuestOffset end, Preallocation preallocation,
                 uint64_t data_file_end);

 private:
  Task<void> map_new(layout::GuestOffset begin, uint64_t count, Preallocation preallocation);
  Task<void> fill(ClusterRange range, Preallocation preallocation);
  // Clusters below `old_end` hold old bytes: their entries say "zeroes".
  Task<void> link(layout::GuestOffset begin, uint64_t count, layout::HostOffset host,
                  layout::HostOffset old_end);
  bool hides_old_bytes(Preallocation preallocation) const;

  Context* context_;
  Allocator* allocator_;
  Linker* linker_;
};

}  // namespace byre::qcow2
