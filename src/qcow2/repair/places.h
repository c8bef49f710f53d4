// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "byre/error.h"
#include "qcow2/check/pass.h"
#include "qcow2/repair/refcount_plan.h"

namespace byre::qcow2 {

// Finds clusters for the new tables of a repair: clusters that nothing refers to. Clusters that it
// has returned are taken.
class NewPlaces {
 public:
  enum class Where {
    kPastEnd,  // past the end of a growing file, except where a reference leads
    kInside,   // in free clusters of the file, which does not grow
  };

  // `pass` must outlive it.
  // REQUIRES: `pass` has counted and compared.
  NewPlaces(CheckPass* pass, Where where);

  // Also avoids references to tables written since, and to clusters past the current end of the
  // file.
  void avoid(const ReferenceCounts& counts);
  // The first of this many consecutive clusters. Throws Error(kNoSpace), which says how much
  // space is missing.
  uint64_t take(uint64_t clusters);
  // The same for a refcount table and its blocks, which count these references and themselves.
  RefcountPlan take_for_refcounts(const ReferenceCounts& counts);

 private:
  uint64_t next_past_end(uint64_t clusters) const;
  bool is_free(uint64_t cluster) const;
  uint64_t find_inside(uint64_t clusters, uint64_t from) const;
  bool choose_inside(RefcountPlan* plan) const;
  RefcountPlan plan_inside(const ReferenceCounts& counts) const;
  Error no_room(uint64_t clusters, uint64_t missing) const;
  Error no_room_in_a_row(uint64_t clusters) const;

  CheckPass* pass_;
  const layout::Geometry geometry_;
  const Where where_;
  const uint64_t inside_end_;  // whole clusters of the file
  uint64_t next_;              // everything returned is at or after this cluster
  const ReferenceCounts* also_counted_ = nullptr;
  RangeSet taken_;
};

}  // namespace byre::qcow2
