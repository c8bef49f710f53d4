// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class Linker;
struct Tables;
class Zeroing;

// Makes the disk larger: the L1 table grows, in place or at another offset, then the size in the
// header. Bytes past the old end read as zeroes before the new size is on disk: wherever this
// stops, the image is sound and has the old size or the new one. Part of WriteParts.
class Growth {
 public:
  // `snapshots` and `bitmaps` are those of the image.
  Growth(Context* context, Tables* tables, const std::vector<layout::Snapshot>* snapshots,
         const std::vector<layout::BitmapEntry>* bitmaps, Allocator* allocator, Linker* linker,
         Flusher* flusher, Zeroing* zeroing)
      : context_(context),
        tables_(tables),
        snapshots_(snapshots),
        bitmaps_(bitmaps),
        allocator_(allocator),
        linker_(linker),
        flusher_(flusher),
        zeroing_(zeroing) {}

  // Throws if the image cannot have that size. Call before grow() and
  // Shrink::run(), and before anything is written for them.
  void validate(uint64_t new_size, Preallocation preallocation) const;
  // Grows to a size that is not smaller. `preallocation` applies to clusters that only the new
  // bytes use; they are placed at the end of the file.
  Task<void> grow(uint64_t new_size, Preallocation preallocation);
  // Makes sure that the L1 table has entries up to `end`, which is inside the limits: for the VM
  // state area.
  Task<void> make_l1_entries(layout::GuestOffset end);

 private:
  void check_bitmaps(uint64_t new_size) const;
  Task<void> zero_past_end(uint64_t new_size, uint64_t data_end);
  Task<void> grow_l1_table(uint64_t entries);

  Context* context_;
  Tables* tables_;
  const std::vector<layout::Snapshot>* snapshots_;
  const std::vector<layout::BitmapEntry>* bitmaps_;
  Allocator* allocator_;
  Linker* linker_;
  Flusher* flusher_;
  Zeroing* zeroing_;
};

}  // namespace byre::qcow2
