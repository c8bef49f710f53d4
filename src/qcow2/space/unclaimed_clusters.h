// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/allocator.h"

namespace byre::qcow2 {

// Free clusters for tables that are written as a whole, beside the ones in use: their refcounts
// count them only when everything is written, so this remembers which ones it has returned.
// REQUIRES: the caller holds the allocator's lock for as long as it uses this object.
class UnclaimedClusters {
 public:
  explicit UnclaimedClusters(Allocator* allocator) : allocator_(allocator) {}

  // Exactly `count` consecutive clusters, none of which was returned before. Throws Error(kNoSpace)
  // if there are none left.
  Task<ClusterRange> take(uint64_t count);

 private:
  Task<ClusterRange> find(uint64_t count) const;
  const ClusterRange* find_taken(ClusterRange range) const;
  void add_taken(ClusterRange range);

  Allocator* allocator_;
  layout::HostCluster next_;         // where searches begin: the end of the last single cluster
  std::vector<ClusterRange> taken_;  // ascending, none adjacent
};

}  // namespace byre::qcow2
