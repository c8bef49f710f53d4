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

// What comes before a request that changes an image. Before the first one the refcount table is
// read, and the header is changed as the specification asks for: bits of unknown autoclear features
// go, bitmaps that follow the guest's writes are marked in use, and with lazy refcounts the dirty
// bit is set. What fails is tried again by the next request, unless it was a write.
class Preparation {
 public:
  // `bitmaps`: of the directory; what they say follows what is written there.
  // `has_unreadable_bitmaps`: there are others, which cannot be marked.
  Preparation(Context* context, Refcounts* refcounts, OverlapCheck* overlap, Flusher* flusher,
              std::vector<layout::BitmapEntry>* bitmaps, bool has_unreadable_bitmaps)
      : context_(context),
        refcounts_(refcounts),
        overlap_(overlap),
        flusher_(flusher),
        bitmaps_(bitmaps),
        has_unreadable_bitmaps_(has_unreadable_bitmaps) {}

  // Throws where the image may not be written. Flushes where much waits for a flush.
  Task<void> begin();
  // The same where nothing has to be waited for; false where begin() must be called.
  bool begin_at_once();

 private:
  Task<void> prepare();

  Context* context_;
  Refcounts* refcounts_;
  OverlapCheck* overlap_;
  Flusher* flusher_;
  std::vector<layout::BitmapEntry>* bitmaps_;
  const bool has_unreadable_bitmaps_;
  Mutex mutex_;
};

}  // namespace byre::qcow2
