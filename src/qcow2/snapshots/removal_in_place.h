// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class Reader;

// How a snapshot of an image on a full disk is deleted: a TableUpdate needs free clusters, so those
// that only the snapshot refers to are freed first, which needs none. Wherever it stops, nothing is
// lost, and at worst clusters leak.
// REQUIRES: the caller holds Context::guest_lock exclusively for everything.
class RemovalInPlace {
 public:
  RemovalInPlace(Context* context, Reader* reader, Refcounts* refcounts, Allocator* allocator,
                 Flusher* flusher)
      : context_(context),
        reader_(reader),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher) {}

  // Whether the entry can be removed without a new table: it is the last one.
  static bool is_possible(size_t index, size_t snapshots) { return index + 1 == snapshots; }
  // Removes the last entry from the table of `snapshots`, which has that many bytes.
  Task<void> remove_last_entry(uint64_t table_size, uint32_t snapshots);
  // Frees the clusters that only the L2 tables of this L1 table refer to; those of the tables stay.
  // REQUIRES: the L1 table belongs to a snapshot that was removed.
  Task<void> free_clusters(std::vector<uint64_t> l1);

 private:
  Task<void> free_sole_references(ClusterRange range);

  Context* context_;
  Reader* reader_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
};

}  // namespace byre::qcow2
