// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/mutex.h"
#include "async/task.h"
#include "qcow2/allocator.h"
#include "qcow2/compressed_writer.h"
#include "qcow2/deferred_discards.h"
#include "qcow2/flusher.h"
#include "qcow2/growth.h"
#include "qcow2/image.h"
#include "qcow2/linker.h"
#include "qcow2/overlap_check.h"
#include "qcow2/refcounts.h"
#include "qcow2/shrink.h"
#include "qcow2/writer.h"
#include "qcow2/zeroing.h"

namespace byre::qcow2 {

// The parts of an image that has been asked to write: made by the first such request, so that an
// image that is open for writing and only read stays as it is.
struct WriteState {
  explicit WriteState(Image::State* image_state);

  // Before every request that changes something: throws where the image may not be written. The
  // first time, reads the refcount table and changes the header as the specification asks for
  // before the first write. Ends with relieve().
  Task<void> begin();
  // The same where nothing has to be waited for; false where begin() must be called.
  bool begin_at_once();
  // Makes room in memory and on disk: flushes where much waits for it.
  Task<void> relieve();
  // For a request that found the disk full: flushes where freed clusters wait for it, and has the
  // allocator look everywhere. True where the request may find room now.
  Task<bool> find_room();
  // A metadata write, or a flush, failed: the image refuses further writes, unless the disk was
  // full.
  void note_failure(const Error& error, bool in_flush);
  // Writes back everything and takes the dirty bit away.
  Task<void> finish();

  Image::State* state;
  Refcounts refcounts;
  OverlapCheck overlap;
  Allocator allocator;
  DeferredDiscards discards;
  Linker linker;
  Writer writer;
  Zeroing zeroing;
  CompressedWriter compressed;
  Flusher flusher;
  Growth growth;
  Shrink shrink;

 private:
  Task<void> prepare();
  bool needs_relief() const;

  Mutex begin_mutex_;
  bool is_ready_ = false;
  bool is_marked_dirty_ = false;
};

}  // namespace byre::qcow2
