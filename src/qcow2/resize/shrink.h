// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class Linker;
class Mapping;
class OverlapCheck;
class Reader;
struct Tables;
class Zeroing;

// Makes the disk smaller. Clusters past the new end are unmapped, durably; then the header gets the
// size; then the clusters that nothing refers to any more are truncated from the file. Wherever
// this stops, the image is sound and has the new size, or the old size with some of the bytes past
// the new end still there and the others unallocated. The bytes of the last cluster past the new
// end are zeroed, so that they do not reappear when the disk grows. Part of an image's WriteParts.
class Shrink {
 public:
  Shrink(Context* context, Tables* tables, Mapping* mapping, Reader* reader, Allocator* allocator,
         Linker* linker, Flusher* flusher, Zeroing* zeroing, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        mapping_(mapping),
        reader_(reader),
        allocator_(allocator),
        linker_(linker),
        flusher_(flusher),
        zeroing_(zeroing),
        overlap_(overlap) {}

  // REQUIRES: Growth::validate() has accepted the size.
  Task<void> run(uint64_t new_size);

 private:
  Task<void> clear_rest_of_cluster(uint64_t new_size);
  Task<void> unmap_in_last_table(uint64_t new_size);
  Task<void> drop_tables(uint64_t first_index);
  Task<void> drop_table(uint64_t l1_index, layout::HostOffset table);
  Task<std::vector<ClusterRange>> clusters_of(uint64_t l1_index, layout::HostOffset table);
  Task<void> cut_data_file(uint64_t old_size);

  Context* context_;
  Tables* tables_;
  Mapping* mapping_;
  Reader* reader_;
  Allocator* allocator_;
  Linker* linker_;
  Flusher* flusher_;
  Zeroing* zeroing_;
  OverlapCheck* overlap_;
};

}  // namespace byre::qcow2
