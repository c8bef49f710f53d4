// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "qcow2/check/references.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/l2_stretch.h"

namespace byre::qcow2 {

// Whether a standard entry refers to a host cluster, or to a cluster of the external data file. To a
// checker every bit pattern has a meaning: that of the entry without its faults. So this does not
// use L2Entry::kind(), which would only give "invalid".
bool refers_to_cluster(const layout::L2Entry& entry, const layout::Geometry& geometry);

// Checks the entries of one L2 table and counts what they refer to. No I/O.
class L2EntryCounter {
 public:
  // `active`: the table maps the active disk, so its copied flags mean something.
  L2EntryCounter(ReferenceCounter* references, bool active);

  // The table is at an impossible offset: its entries are not repaired.
  void leave_as_they_are() { can_repair_ = false; }

  void count(ConstBytes table);
  // Counts what count() counted this many times more, without reporting anything.
  void count_owed(ConstBytes table, uint64_t times);

  // Of the tables passed to count().
  const ClusterStatistics& statistics() const { return statistics_; }

 private:
  using Claim = ReferenceCounts::Claim;

  uint32_t count_plain(const layout::L2Stretch& stretch);
  void count_entry(const layout::L2Entry& entry, uint32_t index);
  void count_compressed(layout::L2Entry entry, uint32_t index);
  void count_allocated(const layout::L2Entry& entry);
  void note_places(uint64_t offset, uint64_t clusters);
  Claim claim_of(const layout::L2Entry& entry) const;

  ReferenceCounter* references_;
  const layout::Geometry& geometry_;
  const bool active_;
  bool can_repair_ = true;
  const uint64_t plain_end_;  // clusters that begin below it are wholly inside the file
  ClusterStatistics statistics_;
  uint64_t contiguous_offset_ = 0;  // the end of the last cluster; 0: there was none
};

}  // namespace byre::qcow2
