// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/tables/tables.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class OverlapCheck;
class Reader;
class Refcounts;

// Makes the disk as it was when the image was created: nothing is allocated, and the backing file
// shows through everywhere. Part of WriteParts.
//
// Happens as a whole or not at all, also in a power cut: see TableUpdate. Durable when it is done.
// Snapshots, their clusters and the VM state area stay; what is free at the end of a growing file
// is cut off.
class Emptying {
 public:
  Emptying(Context* context, Tables* tables, Reader* reader, Refcounts* refcounts,
           Allocator* allocator, Flusher* flusher, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        reader_(reader),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher),
        overlap_(overlap) {}

  Task<void> run();

 private:
  Task<void> drop_tables();

  Context* context_;
  Tables* tables_;
  Reader* reader_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
  OverlapCheck* overlap_;
};

}  // namespace byre::qcow2
