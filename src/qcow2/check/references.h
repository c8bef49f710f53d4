// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>

#include "async/task.h"
#include "qcow2/check/entry_repair.h"
#include "qcow2/check/file.h"
#include "qcow2/check/findings.h"
#include "qcow2/check/ranges.h"
#include "qcow2/check/reference_counts.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2 {

// An L2 table, or a cluster of a bitmap's table, that has more than one reference. Reading it again
// for every reference would let a file of a few MiB keep a checker busy for days (each entry of a
// 32 MiB L1 table may name the same 2 MiB L2 table). So once its contents are known, further
// references are only counted here, and multiplied out at the end.
struct SharedTable {
  uint64_t reads = 0;        // since it was found to be shared
  uint64_t corruptions = 0;  // found by the last read
  ClusterStatistics statistics;
  uint64_t owed = 0;  // references that are not counted yet

  // Whether it needs no further read. Findings are repeated for each reference, as in QEMU, up to a
  // bound. If refcounts are narrow, their overflow depends on each single reference, so such tables
  // are treated as if they had findings.
  static constexpr uint64_t kReadsMax = 257;
  bool is_known(bool narrow_refcounts) const {
    return reads >= ((corruptions == 0 && !narrow_refcounts) ? 1 : kReadsMax);
  }
};

// The first half of a check: follows every reference from L1 tables to L2 tables to clusters,
// counts it, and checks every entry on the way.
class ReferenceCounter {
 public:
  using Claim = ReferenceCounts::Claim;

  // All arguments but `header` must outlive it.
  ReferenceCounter(const layout::Header& header, CheckerFile* file, ReferenceCounts* counts,
                   Findings* findings, const CheckOptions* options);

  // Adds one reference to each cluster that [offset, offset + size) touches. A region that exceeds
  // the end of the file by a cluster or more is a finding instead; its contents may yet arrive, so
  // a repair keeps the reference.
  void count_region(uint64_t offset, uint64_t size, Claim claim = Claim::kNone);
  // Adds references to the clusters past the end of the file of a region that was reported before.
  void count_outside(uint64_t offset, uint64_t size, uint64_t times);
  // Reports that finding, for a region whose contents cannot arrive later.
  void report_outside(uint64_t offset, uint64_t size);
  bool is_outside(uint64_t offset, uint64_t size) const;
  // Adds several references at once to a region that is not outside.
  void add_references(uint64_t offset, uint64_t size, uint64_t times, Claim claim);

  // Counts an L1 table and everything below it. `active`: it maps the active disk, so statistics
  // and the copied flag count. Throws if the file cannot be read.
  Task<void> count_l1_table(uint64_t offset, uint64_t entries, bool active);
  // Counts the references that are owed for shared tables. Call after the last L1 table.
  Task<void> count_owed();

  const ClusterStatistics& statistics() const { return statistics_; }
  // Something is wrong that makes it necessary to check each copied flag again.
  bool is_suspect() const { return suspect_; }
  void set_suspect() { suspect_ = true; }
  // There are entries that a repair can improve (EntryRepair).
  bool has_repairable() const { return has_repairable_; }
  void set_repairable() { has_repairable_ = true; }
  const EntryRepair& entry_repair() const { return entry_repair_; }
  // Something that refers to clusters could not be followed: clusters that look leaked may be its
  // data.
  bool is_incomplete() const { return incomplete_; }
  void set_incomplete() { incomplete_ = true; }
  bool repairs() const { return options_->repairs; }
  // Regions past the end of the file that something refers to, in bytes: code that extends the file
  // avoids them, or what reads as zeroes there would read as something else. Their number is
  // limited, for files that contain little but such references.
  const RangeSet& outside() const { return outside_; }
  // Notes a table that is partly past the end of the file: what reads as zeroes there may yet
  // become entries.
  void note_table(uint64_t offset, uint64_t size);
  // Something past the end of the file that may yet arrive is referred to.
  bool expects_more() const { return expects_more_; }
  // The number of references to each cluster past the end, for at most as many clusters as
  // outside() has ranges.
  const std::map<uint64_t, uint64_t>& outside_counts() const { return outside_counts_; }
  // Whether a cluster has more than one reference, even with 1-bit refcounts.
  bool is_referred_to_twice(uint64_t cluster) const {
    return counts_->count(cluster) > 1 || overflowed_.contains(cluster);
  }

  const layout::Geometry& geometry() const { return geometry_; }
  ReferenceCounts& counts() { return *counts_; }
  Findings& findings() { return *findings_; }
  // Whether the cluster at that offset has more than one reference so far.
  bool is_shared(uint64_t offset) const;
  // Whether the cluster at that offset is an L2 table and nothing else; whether each cluster in the
  // range is referred to once. A repair writes to no others: in a damaged image, guest data or the
  // header may be referred to as a table, and may look like one.
  bool is_only_l2_table(uint64_t offset) const;
  bool is_referred_to_once(uint64_t offset, uint64_t length) const;
  // Whether an L2 table of the active disk is also something else.
  bool has_overlapping_l2_table() const;

  // Clusters that begin below it are wholly inside the file.
  uint64_t whole_clusters_end() const { return file_->size() & ~geometry_.cluster_mask(); }

 private:
  Task<ConstBytes> read_l1(uint64_t offset, uint64_t length, uint64_t ahead);
  Task<ConstBytes> read_l2(uint64_t offset, uint64_t ahead);
  void report_unreadable(FindingKind kind);
  Task<void> count_l1_cluster(uint64_t offset, uint64_t length, uint64_t ahead, bool active);
  Task<void> count_l2_table(uint64_t offset, uint64_t ahead, bool active);
  void note_outside(uint64_t offset, uint64_t size);
  void count_l1_places(uint64_t offset, uint64_t size);
  void note_l1_cluster(uint64_t place, bool clean);
  Task<void> count_l1_owed(OverlappingRanges::Range range);
  Task<void> count_l1_part_owed(uint64_t offset, uint64_t length, OverlappingRanges::Range range);
  Task<void> count_l2_table_times(uint64_t offset, uint64_t times);

  const layout::Geometry geometry_;
  const EntryRepair entry_repair_;
  CheckerFile* file_;
  CheckerFile l2_file_;  // separate, so that the L1 table stays in memory
  ReferenceCounts* counts_;
  Findings* findings_;
  const CheckOptions* options_;
  const bool narrow_refcounts_;
  ClusterStatistics statistics_;
  bool suspect_ = false;
  bool has_repairable_ = false;
  bool incomplete_ = false;
  struct L2References {
    uint64_t count = 0;
    bool is_active = false;  // the active disk's L1 table has one of them
  };
  std::unordered_map<uint64_t, L2References> l2_references_;  // by host offset of the table
  static constexpr size_t kRangesMax = 1 << 20;
  RangeSet outside_;
  std::map<uint64_t, uint64_t> outside_counts_;  // by cluster
  bool expects_more_ = false;
  RangeSet overflowed_;  // clusters with more references than can be counted
  // L1 tables of snapshots, up to 65536, may overlap in any way. Once a cluster of them has been
  // followed often enough, further tables that include it are only noted as ranges.
  std::unordered_map<uint64_t, uint64_t> l1_reads_;  // by host offset of an L1 table's cluster
  RangeSet known_l1_;
  OverlappingRanges owed_l1_;                            // entries that are not followed yet
  OverlappingRanges owed_l1_places_;                     // references to the tables themselves
  std::unordered_map<uint64_t, SharedTable> shared_l2_;  // by host offset of the table
};

}  // namespace byre::qcow2
