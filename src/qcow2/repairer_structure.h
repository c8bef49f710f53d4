// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>

#include "async/task.h"
#include "qcow2/checker_pass.h"
#include "qcow2/refcount_plan.h"

namespace byre::qcow2 {

// Builds tables anew where nothing is in use, and switches the header to them.
//
// 1. A mended snapshot table, a moved L1 table and moved L2 tables are written behind the end of
// the file.
// 2. All references are counted, now with these tables.
// 3. A refcount table with its blocks is written behind them.
// 4. Flush. One write of the header's fields, from l1_size to snapshots_offset, inside the first
//    sector. Flush.
//
// Up to 4 the image is as it was, with more bytes behind its end that nothing refers to; from then
// on it has the new tables, and refcounts that are right for them.
class StructureBuilder {
 public:
  // `pass` has counted and compared, and outlives it. `keep_leaks`: clusters that are in use by the
  // old refcounts alone are so by the new ones, too.
  StructureBuilder(CheckPass* pass, bool keep_leaks);

  // An active L1 table that is something else as well, or lies where there is no file, gets a place
  // of its own; so do its L2 tables.
  bool must_move_l1() const;
  // The header as it is after the switch.
  Task<layout::Header> build();
  // Clusters of the old refcount table and blocks that were nothing else.
  const RangeSet& given_back() const { return given_back_; }

 private:
  uint64_t take(uint64_t clusters);
  uint64_t next_free(uint64_t clusters) const;
  void note_old_structure();
  Task<void> write_snapshot_table();
  Task<void> move_l1_table();
  Task<void> move_l2_tables(Bytes l1_piece);
  Task<void> write_refcounts(CheckPass* counted);
  Task<void> add_old_refcounts(CheckPass* counted);
  Task<void> write_header();
  BlockDevice& file() { return pass_->file().device(); }

  CheckPass* pass_;
  const layout::Geometry geometry_;
  const bool keep_leaks_;
  layout::Header header_;
  uint64_t next_cluster_;
  RangeSet given_back_;
  std::unordered_map<uint64_t, uint64_t> moved_l2_;  // old and new offset
};

}  // namespace byre::qcow2
