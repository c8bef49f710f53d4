// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "async/task.h"
#include "qcow2/check/pass.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/repair/places.h"

namespace byre::qcow2 {

// Rebuilds tables in unused clusters, and switches the header to them.
//
// 1. A repaired snapshot table, a shorter bitmap directory, a moved L1 table and moved L2 tables
//    are written to new clusters.
// 2. All references are counted, now with these tables.
// 3. A refcount table with its blocks is written to new clusters.
// 4. Flush. One write of the header's fields, from l1_size to snapshots_offset, inside the first
//    sector. Flush.
//
// Before step 4 the image is as it was, except for bytes that nothing refers to; from then on it
// has the new tables, and refcounts that are right for them. The bitmap directory is named by an
// extension, which the caller switches afterwards: until then the old one is also counted in the
// refcounts.
//
// References that are kept to clusters past the end of the file are also counted.
class StructureBuilder {
 public:
  // `pass` must outlive it. `keep_leaks`: clusters that only the old refcounts call in use remain
  // in use.
  // REQUIRES: `pass` has counted and compared.
  StructureBuilder(CheckPass* pass, bool keep_leaks, NewPlaces::Where where);

  // Whether the active L1 table must move, with its L2 tables: it or one of them is also something
  // else, or it is past the end of the file and what is there is given up.
  static bool must_move_l1(CheckPass& pass);
  // The bitmaps that the image is to have.
  void set_bitmaps(const std::vector<layout::BitmapEntry>* bitmaps) { bitmaps_ = bitmaps; }
  // The extension for those bitmaps, after build().
  const std::optional<layout::BitmapsExtension>& bitmaps() const { return extension_; }
  // Returns the header as it is after the switch.
  Task<layout::Header> build();
  // The header on disk may be the new one, whether build() throws or not.
  bool has_switched() const { return has_switched_; }
  // Clusters of the old refcount table, blocks and bitmap directory that had no other use.
  const RangeSet& given_back() const { return given_back_; }

 private:
  uint64_t take(uint64_t clusters) { return places_.take(clusters) << geometry_.cluster_bits(); }
  void note_old_structure();
  Task<uint64_t> write_table(std::vector<uint8_t> table);
  Task<void> write_snapshot_table();
  Task<void> write_bitmap_directory();
  Task<void> move_l1_table();
  Task<void> move_l2_tables(Bytes l1_piece);
  Task<void> write_refcounts(CheckPass* counted);
  Task<void> add_old_refcounts(ReferenceCounts* counts);
  void add_old_directory(ReferenceCounts* counts);
  void add_outside(ReferenceCounts* counts) const;
  Task<void> write_header();
  BlockDevice& file() { return pass_->file().device(); }

  CheckPass* pass_;
  const layout::Geometry geometry_;
  const bool keep_leaks_;
  layout::Header header_;
  NewPlaces places_;
  const std::vector<layout::BitmapEntry>* bitmaps_ = nullptr;
  std::optional<layout::BitmapsExtension> extension_;
  RangeSet given_back_;
  bool has_switched_ = false;
  std::unordered_map<uint64_t, uint64_t> moved_l2_;  // old and new offset
};

}  // namespace byre::qcow2
