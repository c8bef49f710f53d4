// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/read/mapping.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/tables/tables.h"

namespace byre::qcow2 {

class Allocator;
class Linker;

// Sets ranges of the disk back to what a snapshot has there, or to never written, as applying a
// snapshot does with the whole disk: what was copied into one state of the disk need not be copied
// into another one. Part of WriteParts.
//
// Ranges are whole clusters, except at the end of the disk. A failure leaves a part of the range
// changed.
class ClusterSharing {
 public:
  ClusterSharing(Context* context, Tables* tables, const std::vector<layout::Snapshot>* snapshots,
                 Mapping* mapping, Allocator* allocator, Linker* linker)
      : context_(context),
        tables_(tables),
        snapshots_(snapshots),
        mapping_(mapping),
        allocator_(allocator),
        linker_(linker) {}

  // The disk refers to the clusters of the snapshot at that index. Throws Error(kUnsupported,
  // EINVAL) if the refcount of one is at its maximum.
  Task<void> share(size_t snapshot, GuestOffset offset, uint64_t length);
  // The backing file shows through.
  Task<void> unallocate(GuestOffset offset, uint64_t length);

 private:
  Task<std::vector<layout::L2Entry>> entries_of(Mapping* mapping, GuestOffset first,
                                                uint64_t count);
  bool have_same_cluster(const layout::L2Entry& one, const layout::L2Entry& other) const;
  std::vector<ClusterRange> new_clusters(const std::vector<layout::L2Entry>& entries,
                                         const std::vector<layout::L2Entry>& before) const;
  Task<void> share_clusters(Mapping* mapping, GuestOffset first, uint64_t count);
  Task<void> drop(std::vector<ClusterRange> clusters, size_t count);
  // The number of clusters from `at` on that are in one slice and before `end`.
  uint64_t clusters_in_slice(GuestOffset at, GuestOffset end) const;

  Context* context_;
  Tables* tables_;
  const std::vector<layout::Snapshot>* snapshots_;
  Mapping* mapping_;  // of the disk
  Allocator* allocator_;
  Linker* linker_;
  L1Table l1_;  // of the snapshot that was used last
};

}  // namespace byre::qcow2
