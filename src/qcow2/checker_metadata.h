// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "async/task.h"
#include "qcow2/checker_file.h"
#include "qcow2/checker_references.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/snapshot.h"

namespace byre::qcow2 {

// The references of a check that do not come from the active L1 table: those of snapshots and
// bitmaps. All that it is given outlives it.
class MetadataCounter {
 public:
  MetadataCounter(const CheckSubject* subject, CheckerFile* file, ReferenceCounter* references,
                  const CheckOptions* options);

  // Reads the snapshot table and reports what is wrong with it; the first step of a check. Throws
  // where it cannot be read.
  Task<void> read_snapshots();
  // L1 tables of the snapshots with all below them, then the table itself. Whoever comes last
  // counts what shared tables owe (ReferenceCounter::count_owed).
  Task<void> count_snapshots();
  // Bitmap directory, tables and data.
  Task<void> count_bitmaps();

  const std::vector<layout::Snapshot>& snapshots() const { return snapshots_; }
  uint64_t snapshot_table_size() const { return snapshot_table_size_; }
  // CheckOptions::mends: snapshots() are better than what the image has.
  bool has_mended_snapshots() const { return has_mended_snapshots_; }

 private:
  void check_snapshot_pointer();
  Task<void> decode_snapshots();
  void report_cut(size_t index, uint64_t size);
  void check_snapshot_entries();
  bool check_snapshot_l1(const layout::Snapshot& snapshot);
  Task<void> count_bitmap_table(uint64_t offset, uint64_t entries);
  Task<void> count_bitmap_table_cluster(uint64_t offset, uint64_t length, uint64_t times);

  const CheckSubject* subject_;
  CheckerFile* file_;
  ReferenceCounter* references_;
  const CheckOptions* options_;
  std::vector<layout::Snapshot> snapshots_;
  uint64_t snapshot_table_size_ = 0;
  bool has_mended_snapshots_ = false;
  std::unordered_map<uint64_t, SharedTable> shared_bitmaps_;  // by host offset of a table's cluster
};

}  // namespace byre::qcow2
