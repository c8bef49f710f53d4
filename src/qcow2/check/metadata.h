// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/task.h"
#include "qcow2/check/file.h"
#include "qcow2/check/references.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/snapshot.h"

namespace byre::qcow2 {

// Counts the references of snapshots for a check. The constructor's arguments must outlive it.
class MetadataCounter {
 public:
  MetadataCounter(const CheckSubject* subject, CheckerFile* file, ReferenceCounter* references,
                  const CheckOptions* options);

  // Reads the snapshot table and reports problems in it; the first step of a check. Throws if it
  // cannot be read; for a repair that is a finding instead, and snapshots() has the entries before
  // it.
  Task<void> read_snapshots();
  // Counts the L1 tables of the snapshots with everything below them, then the snapshot table
  // itself. ReferenceCounter::count_owed() must be called after the last L1 table of all.
  Task<void> count_snapshots();

  const std::vector<layout::Snapshot>& snapshots() const { return snapshots_; }
  // With CheckOptions::repairs: snapshots() are better than what the image has, and nothing is lost
  // in them except what is given up.
  bool has_repaired_snapshots() const { return has_repaired_snapshots_ && !is_table_kept_; }
  // Part of the table cannot be read and is kept.

 private:
  void check_snapshot_pointer();
  Task<void> decode_snapshots();
  Task<void> decode_snapshots_by_guess();
  Task<void> decode(layout::SnapshotTableDecoder* decoder);
  Task<bool> guess_entry(layout::SnapshotTableDecoder* decoder);
  void report_guess(size_t index);
  void report_unreadable(uint64_t decoded, const Error& reason);
  void remove_unreadable();
  std::optional<Error> unreadable_l1(const layout::Snapshot& snapshot) const;
  void report_cut(size_t index, uint64_t size);
  void check_snapshot_entries();
  bool check_snapshot_l1(const layout::Snapshot& snapshot);

  const CheckSubject* subject_;
  CheckerFile* file_;
  ReferenceCounter* references_;
  const CheckOptions* options_;
  std::vector<layout::Snapshot> snapshots_;
  uint64_t snapshot_table_size_ = 0;
  bool has_repaired_snapshots_ = false;
  bool is_table_kept_ = false;
};

}  // namespace byre::qcow2
