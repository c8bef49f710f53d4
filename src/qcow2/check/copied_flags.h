// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>

#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/check/changed_range.h"
#include "qcow2/check/file.h"
#include "qcow2/check/refcounts.h"
#include "qcow2/check/references.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2 {

// The last step of a check or repair: compares the copied flags of the active L1 table and its L2
// tables with the refcounts in the image. A flag that is set although the refcount is not one lets
// a writer change data that is shared. The constructor's arguments must outlive it.
class CopiedFlagChecker {
 public:
  CopiedFlagChecker(CheckerFile* file, ReferenceCounter* references, StoredRefcounts* refcounts,
                    const CheckOptions* options);
  // From now on also repairs flags, in tables that are not used as anything else.
  void repair();

  // Throws if a table cannot be read, or, when repairing, cannot be written. Does not flush.
  Task<void> check(uint64_t l1_offset, uint64_t l1_entries);

 private:
  Task<void> check_l1_piece(uint64_t offset, uint64_t length, uint64_t first_index, uint64_t ahead);
  // Whether the flag of the entry is wrong; `repairs`: it will be corrected.
  Task<bool> check_l1_entry(layout::L1Entry entry, uint64_t index, bool repairs);
  Task<void> check_l2_of(layout::L1Entry entry);
  Task<void> check_l2_table(uint64_t offset);
  Task<ConstBytes> read_l2(uint64_t offset);
  bool check_l2_entry(const layout::L2Entry& entry, uint64_t refcount, bool repairs);
  Task<void> write(uint64_t offset, ConstBytes table, ChangedRange changed);

  const layout::Geometry geometry_;
  CheckerFile* file_;
  CheckerFile l2_file_;
  ReferenceCounter* references_;
  StoredRefcounts* refcounts_;
  const CheckOptions* options_;
  bool repairs_ = false;
  Buffer l1_;  // pieces of repaired tables; empty unless it repairs
  Buffer l2_;
  std::unordered_map<uint64_t, SharedTable> shared_l2_;
};

}  // namespace byre::qcow2
