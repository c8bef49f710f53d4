// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/mutex.h"
#include "async/task.h"
#include "qcow2/core/context.h"

namespace byre::qcow2 {

class Allocator;
class DeferredDiscards;
class Linker;
class OverlapCheck;
struct Tables;

// Makes an image durable, in the order that decision 0010 gives:
//
//   refcount blocks; data and file flushed; L2 tables; file flushed; L1 table; file flushed
//
// (without the refcount blocks if refcounts are lazy). Only then it decrements the refcounts of
// what was freed before it began, and runs deferred discards. Steps that have nothing to do are
// skipped: an image whose metadata did not change costs one flush of the data. Callers that arrive
// while a flush runs share the next one.
//
// If a write or flush fails, nothing is freed, and what was to be freed or discarded waits for the
// next flush; Health decides whether there can be one.
class Flusher {
 public:
  Flusher(Context* context, Tables* tables, Allocator* allocator, DeferredDiscards* discards,
          Linker* linker, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        allocator_(allocator),
        discards_(discards),
        linker_(linker),
        overlap_(overlap) {}

  Task<void> flush();
  // The same, including lazy refcounts: before the dirty bit is cleared.
  Task<void> flush_all();
  // Flushes until nothing waits for a flush: all tables, lazy refcounts included, are in the file,
  // and all freed clusters are free there.
  // REQUIRES: no request is in flight that changes anything.
  Task<void> settle();
  // True if the freed clusters and discards that wait for a flush take much memory, or much of the
  // disk.
  bool is_backlogged() const;
  Task<void> flush_if_backlogged();
  // For a request that found the disk full: flushes if freed clusters wait for a flush, and makes
  // the allocator use every free cluster. Returns true if the request may find space now.
  Task<bool> make_room();

 private:
  Task<void> run(bool with_refcounts);
  Task<void> write_tables(bool with_refcounts);
  Task<void> write_l1_table();
  Task<void> flush_devices();
  bool has_dirty_tables(bool with_refcounts) const;

  Context* context_;
  Tables* tables_;
  Allocator* allocator_;
  DeferredDiscards* discards_;
  Linker* linker_;
  OverlapCheck* overlap_;
  Mutex mutex_;
  uint64_t requested_ = 0;
  uint64_t done_ = 0;
};

}  // namespace byre::qcow2
