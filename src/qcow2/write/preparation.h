// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"

namespace byre::qcow2 {

class Flusher;
class OverlapCheck;
class Refcounts;

// Prepares an image for its first change. Before the first such request the refcount table is read,
// and the header is changed as the specification requires: unknown autoclear bits are cleared,
// bitmaps that follow the guest's writes are marked in use, and with lazy refcounts the dirty bit
// is set. If this fails, the next request tries again, unless a write failed.
class Preparation {
 public:
  // `bitmaps`: those of the directory; updated with what is written there.
  // `has_unreadable_bitmaps`: there are others, which cannot be marked.
  Preparation(Context* context, Refcounts* refcounts, OverlapCheck* overlap, Flusher* flusher,
              std::vector<layout::BitmapEntry>* bitmaps, bool has_unreadable_bitmaps)
      : context_(context),
        refcounts_(refcounts),
        overlap_(overlap),
        flusher_(flusher),
        bitmaps_(bitmaps),
        has_unreadable_bitmaps_(has_unreadable_bitmaps) {}

  // Call before each request that changes the image. Throws if the image may not be written.
  // Flushes if there is a large backlog.
  Task<void> begin();
  // The same for a request that leaves what the guest reads as it is, so that bitmaps stay valid.
  Task<void> begin_for_tables();
  // The same if nothing has to be awaited; returns false if begin() must be called instead.
  bool begin_at_once();

 private:
  enum class Bitmaps { kMarked, kKept };

  Task<void> prepare(Bitmaps bitmaps);
  Task<void> mark_bitmaps();

  Context* context_;
  Refcounts* refcounts_;
  OverlapCheck* overlap_;
  Flusher* flusher_;
  std::vector<layout::BitmapEntry>* bitmaps_;
  const bool has_unreadable_bitmaps_;
  bool are_bitmaps_marked_ = false;  // or there are none
  Mutex mutex_;
};

}  // namespace byre::qcow2
