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

// Discards [begin, end) as far as the device reaches. A failure is nobody's: the space stays taken.
Task<void> discard_inside(BlockDevice* device, uint64_t begin, uint64_t end);

// Host clusters whose bytes nobody needs any more though they stay where they are: kept for their
// place (`discard-no-unref`), or in an external data file. Part of an image's WriteParts.
//
// Until the entry that read them is gone from the disk, durably, a power cut brings it back, and a
// discarded cluster may hold anything. So they wait: Flusher calls begin_flush() before it writes
// the tables and run() when these are durable. A flush that fails leaves them for the next one.
//
// A cluster that is written to again must not be discarded afterwards: whoever writes where the
// entry did not say "data" calls withdraw() first. It holds Context::guest_lock exclusive for the
// cluster, as does whoever calls add(), so that the two do not meet. run() takes no lock that
// anybody holds who waits in withdraw().
class DeferredDiscards {
 public:
  explicit DeferredDiscards(Context* context) : context_(context) {}

  // The entry in memory does not read the cluster any more. A hint: without memory for it, it is
  // forgotten.
  void add(HostCluster cluster) noexcept;
  // Nothing waits, and nothing is under way: withdraw() would do nothing.
  bool is_idle() const { return waiting_.empty() && ready_.empty() && running_end_ == 0; }
  // When it is done, no discard will touch the clusters of these bytes.
  Task<void> withdraw(layout::HostOffset begin, uint64_t length);
  // Pieces that wait: a bound on the memory that they take.
  uint64_t pieces() const { return waiting_.size() + ready_.size(); }

  void begin_flush() noexcept;
  // Asserts that the pieces are in order, and that none touches another. For tests.
  void check() const;
  Task<void> run();

 private:
  // Begin and end of pieces that do not touch one another, in bytes of the data device.
  using Pieces = std::map<uint64_t, uint64_t>;

  static void insert(Pieces* pieces, uint64_t begin, uint64_t end) noexcept;
  static void erase(Pieces* pieces, uint64_t begin, uint64_t end) noexcept;

  Context* context_;
  Pieces waiting_;
  Pieces ready_;  // a flush has begun since they came
  // The one that is under way, for which the mutex is held; 0: none.
  Mutex mutex_;
  uint64_t running_begin_ = 0;
  uint64_t running_end_ = 0;
};

}  // namespace byre::qcow2
