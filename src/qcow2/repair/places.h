// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "byre/error.h"
#include "qcow2/check/pass.h"
#include "qcow2/repair/refcount_plan.h"

namespace byre::qcow2 {

// Where a repair writes new tables: clusters to which nothing refers. Those that it gave are taken.
class NewPlaces {
 public:
  enum class Where {
    kPastEnd,  // past the end of a file that grows, and not where a reference leads that goes there
    kInside,   // in free clusters of the file, which stays as long as it is
  };

  // `pass` has counted and compared, and outlives it.
  NewPlaces(CheckPass* pass, Where where);

  // References to tables that were written since, and past the end of the file as it is now.
  void avoid(const ReferenceCounts& counts);
  // The first of so many consecutive clusters. Throws Error(kNoSpace); the hint says how much room
  // is missing.
  uint64_t take(uint64_t clusters);
  // The same for a refcount table and its blocks, for these references and for themselves.
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
  uint64_t next_;              // all that is given lies from here on
  const ReferenceCounts* also_counted_ = nullptr;
  RangeSet taken_;
};

}  // namespace byre::qcow2
