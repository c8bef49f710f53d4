// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/check/pass.h"

namespace byre::qcow2 {

// Writes repaired entries (EntryRepair) to the L1 and L2 tables of the active disk and of all
// snapshots, in place: the writes are independent, so any subset of them may be on disk.
class EntryRepairer {
 public:
  // `pass` must outlive it.
  // REQUIRES: `pass` has counted.
  explicit EntryRepairer(CheckPass* pass);

  // Writes, but does not flush. Returns whether it has written.
  Task<bool> repair();

 private:
  Task<void> repair_l1_table(uint64_t offset, uint64_t entries);
  Task<void> repair_l1_piece(uint64_t offset, uint64_t length);
  Task<void> repair_l2_table(uint64_t offset);
  void report(FindingKind kind, uint64_t offset, uint64_t value);

  CheckPass* pass_;
  bool has_written_ = false;
  CheckerFile l1_file_;
  CheckerFile l2_file_;
  Buffer l1_;
  Buffer l2_;
  RangeSet seen_l1_;                      // bytes of the file
  std::unordered_set<uint64_t> seen_l2_;  // offsets
};

}  // namespace byre::qcow2
