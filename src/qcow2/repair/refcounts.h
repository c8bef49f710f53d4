// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "base/bytes.h"
#include "block/buffer.h"
#include "qcow2/check/pass.h"
#include "qcow2/repair/repair.h"

namespace byre::qcow2 {

// Repairs refcounts where they stand: each becomes the number of references that `pass` has
// counted. Only for refcounts of which StoredRefcounts::can_be_written_in_place() is true, so each
// write hits a block and nothing else. Every write makes the image better, in any order and any
// part.
//
// Clusters past the end of the file to which references are kept have at least as many: the file
// may grow over them, and nobody else may be given them.
class RefcountRepairer {
 public:
  // `pass` has counted and compared, and outlives it.
  RefcountRepairer(CheckPass* pass, RepairScope scope);
  // These clusters are given back whatever else is kept.
  void give_back(const RangeSet* clusters) { given_back_ = clusters; }

  // Writes, does not flush.
  Task<void> repair();

 private:
  Task<void> repair_block(uint64_t index, uint64_t first, uint64_t count);
  Task<void> raise_past_end();
  // block_, over what was read into it.
  Task<void> write_block(layout::HostOffset offset);
  bool repair_refcount(Bytes block, uint64_t index_in_block, uint64_t cluster, uint64_t references);

  CheckPass* pass_;
  const bool repairs_leaks_;
  const bool repairs_corruptions_;
  const RangeSet* given_back_ = nullptr;
  CheckerFile block_file_;
  Buffer block_;
  ReferenceCounts::PageCounts page_counts_;
};

// Makes the refcounts of all clusters from `end` on 0, where nothing refers to any of them: a check
// does not look behind the end of the file, and as soon as the file has grown they would be leaks.
// For an image in which a check finds nothing. Writes blocks in place, does not flush; says
// nothing of it.
class RefcountsPastEnd {
 public:
  // Both outlive it.
  RefcountsPastEnd(const CheckSubject& subject, const CheckOptions& options, uint64_t end);

  // Whether there are any; they are read again by clear().
  Task<bool> has_any();
  Task<void> clear();

 private:
  Task<bool> visit(bool clears);
  bool clear_in(Bytes block, uint64_t first) const;

  const layout::Header& header_;
  const CheckOptions& options_;
  const layout::Geometry geometry_;
  CheckerFile file_;
  const uint64_t end_;
};

}  // namespace byre::qcow2
