// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/mutex.h"
#include "async/task.h"
#include "qcow2/image.h"

namespace byre::qcow2 {

class Allocator;
class Linker;

// Makes an image durable, in the order that decision 0010 gives:
//
//   refcount blocks; data and file flushed; L2 tables; file flushed; L1 table; file flushed
//
// (lazy refcounts are left out) and only then counts down, and so gives back, what was freed before
// it began, and discards what stays where it is. Steps that have nothing to do are left out: an
// image whose metadata did not change costs one flush of the data. Callers that come while a flush
// runs share the next one.
class Flusher {
 public:
  Flusher(Image::State* state, Allocator* allocator, Linker* linker)
      : state_(state), allocator_(allocator), linker_(linker) {}

  Task<void> flush();
  // The same, with the refcounts even where they are lazy: before the dirty bit is taken away.
  Task<void> flush_all();

 private:
  Task<void> run(bool with_refcounts);
  Task<void> write_tables(bool with_refcounts);
  Task<void> write_l1_table();
  Task<void> flush_devices();
  bool has_dirty_tables(bool with_refcounts) const;

  Image::State* state_;
  Allocator* allocator_;
  Linker* linker_;
  Mutex mutex_;
  uint64_t requested_ = 0;
  uint64_t done_ = 0;
};

}  // namespace byre::qcow2
