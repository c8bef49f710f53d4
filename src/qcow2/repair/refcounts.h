// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/task.h"
#include "base/bytes.h"
#include "block/buffer.h"
#include "qcow2/check/pass.h"
#include "qcow2/repair/repair.h"

namespace byre::qcow2 {

// Repairs refcounts in place: each becomes the number of references that `pass` has counted. Every
// write improves the image, in any order and any subset.
//
// Clusters past the end of the file to which references are kept get at least as many: the file may
// grow over them, and they must not be allocated for anything else.
//
// REQUIRES: StoredRefcounts::can_be_written_in_place(), so that each write hits a block and nothing
// else.
class RefcountRepairer {
 public:
  // `pass` must outlive it.
  // REQUIRES: `pass` has counted and compared.
  RefcountRepairer(CheckPass* pass, RepairScope scope);
  // These clusters are freed whatever else is kept.
  void give_back(const RangeSet* clusters) { given_back_ = clusters; }

  // Writes, but does not flush.
  Task<void> repair();

 private:
  Task<void> repair_block(uint64_t index, uint64_t first, uint64_t count);
  Task<void> raise_past_end();
  // Writes block_ over what was read into it.
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

// Sets the refcounts of all clusters from `end` on to 0: a check does not look past the end of the
// file, and once the file has grown they would be leaks. Writes blocks in place, does not flush,
// and reports nothing.
// REQUIRES: a check finds nothing in the image, and nothing refers to clusters from `end` on.
class RefcountsPastEnd {
 public:
  // Both must outlive it.
  RefcountsPastEnd(const CheckSubject& subject, const CheckOptions& options, uint64_t end);

  // Whether there are any to clear; clear() reads them again.
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
