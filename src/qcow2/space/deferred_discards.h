// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "async/mutex.h"
#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

// Discards the part of [begin, end) that is inside the device. A failure is ignored: the space
// stays allocated.
Task<void> discard_inside(BlockDevice* device, uint64_t begin, uint64_t end);

// Host clusters whose bytes are no longer needed although the clusters stay allocated: they keep
// their offset (`discard-no-unref`), or are in an external data file. Part of an image's
// WriteParts.
//
// Until the removal of the entry that referred to them is durable, a power cut brings that entry
// back, and a discarded cluster may have any content. So the discards are deferred: Flusher calls
// begin_flush() before it writes the tables, and run() when these are durable. A flush that fails
// leaves them for the next one.
//
// A cluster that is written to again must not be discarded afterwards: a writer calls withdraw()
// before it writes to clusters whose entry was not "data". It holds Context::guest_lock exclusively
// for the cluster, as does the caller of add(), so that the two cannot interleave. run() acquires
// no lock that a caller of withdraw() can hold.
class DeferredDiscards {
 public:
  explicit DeferredDiscards(Context* context) : context_(context) {}

  // The entry in memory no longer refers to the cluster's data. A hint: dropped if there is no
  // memory for it.
  void add(HostCluster cluster) noexcept;
  // Nothing is pending or in flight: withdraw() would do nothing.
  bool is_idle() const { return waiting_.empty() && ready_.empty() && running_end_ == 0; }
  // When it returns, no discard will touch the clusters of this byte range.
  Task<void> withdraw(layout::HostOffset begin, uint64_t length);
  // The number of pending pieces, which bounds the memory that they take.
  uint64_t pieces() const { return waiting_.size() + ready_.size(); }

  void begin_flush() noexcept;
  // Asserts that the pieces are in order, and that none touches another. For tests.
  void check() const;
  Task<void> run();

 private:
  // Begin and end of disjoint, non-adjacent pieces, in bytes of the data device.
  using Pieces = std::map<uint64_t, uint64_t>;

  struct Running;

  static void insert(Pieces* pieces, uint64_t begin, uint64_t end) noexcept;
  static void erase(Pieces* pieces, uint64_t begin, uint64_t end) noexcept;

  Context* context_;
  Pieces waiting_;
  Pieces ready_;  // a flush has begun since they were added
  // The discard in flight, for which the mutex is held; 0: none.
  Mutex mutex_;
  uint64_t running_begin_ = 0;
  uint64_t running_end_ = 0;
};

}  // namespace byre::qcow2
