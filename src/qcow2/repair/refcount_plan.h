// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "qcow2/check/reference_counts.h"
#include "qcow2/layout/geometry.h"

namespace byre::qcow2 {

// A new refcount table and its blocks: the table in consecutive clusters, and the blocks in the
// order of what they count, either each at its own cluster or all right after the table. Only parts
// of the file in which something is in use have blocks.
struct RefcountPlan {
  uint64_t first = 0;  // cluster
  uint64_t table_clusters = 0;
  std::vector<uint64_t> blocks;  // their indexes in the table, ascending
  std::vector<uint64_t> places;  // clusters of the blocks; empty: they follow the table

  uint64_t cluster_count() const { return table_clusters + blocks.size(); }
  uint64_t block_cluster(size_t number) const {
    return places.empty() ? first + table_clusters + number : places[number];
  }
  bool operator==(const RefcountPlan&) const = default;
};

// The plan for these references and for those to the new structure itself, which begins at `first`.
// Throws Error(kNoSpace) if the table would be larger than readers accept.
RefcountPlan plan_refcounts(const ReferenceCounts& counts, const layout::Geometry& geometry,
                            uint64_t first);
// The same for these references and for clusters that will also be in use; positions are not
// assigned.
RefcountPlan plan_refcounts(const ReferenceCounts& counts, const layout::Geometry& geometry,
                            const std::vector<uint64_t>& own);

// The bytes of the block with that index in the table.
void fill_refcount_block(const ReferenceCounts& counts, const layout::Geometry& geometry,
                         uint64_t index, Bytes block);

}  // namespace byre::qcow2
