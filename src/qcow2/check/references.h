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

// An L2 table, or a cluster of a bitmap's table, to which more than one reference leads. Reading it
// again for every reference would let a file of a few MiB keep a checker busy for days (each entry
// of a 32 MiB L1 table may name the same 2 MiB L2 table), so once it is known what it holds,
// further references are only counted here and multiplied out at the end.
struct SharedTable {
  uint64_t reads = 0;        // since it was known to be shared
  uint64_t corruptions = 0;  // that the last reading found
  ClusterStatistics statistics;
  uint64_t owed = 0;  // references that nobody has counted yet

  // Whether it needs no further reading. Findings are repeated for each reference, as in QEMU, up
  // to a bound. Where refcounts are narrow, their overflow depends on each single reference, so
  // such tables count as if they had findings.
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

  // All but `header` outlive it.
  ReferenceCounter(const layout::Header& header, CheckerFile* file, ReferenceCounts* counts,
                   Findings* findings, const CheckOptions* options);

  // One reference to each cluster that [offset, offset + size) touches. A region that goes past the
  // end of the file by a cluster or more is a finding instead; whatever it was to hold may yet
  // arrive, so a repair keeps the reference.
  void count_region(uint64_t offset, uint64_t size, Claim claim = Claim::kNone);
  // References to the clusters past the end of the file of a region that was told of before.
  void count_outside(uint64_t offset, uint64_t size, uint64_t times);
  // That finding, for a region that holds nothing that could arrive.
  void report_outside(uint64_t offset, uint64_t size);
  bool is_outside(uint64_t offset, uint64_t size) const;
  // The same, several times, for a region that is not outside.
  void add_references(uint64_t offset, uint64_t size, uint64_t times, Claim claim);

  // An L1 table and all below it. `active`: it maps the active disk, so statistics and the copied
  // flag count. Throws where the file cannot be read.
  Task<void> count_l1_table(uint64_t offset, uint64_t entries, bool active);
  // The references that shared tables still owe. After the last L1 table.
  Task<void> count_owed();

  const ClusterStatistics& statistics() const { return statistics_; }
  // Something was out of order that makes it necessary to look at each copied flag again.
  bool is_suspect() const { return suspect_; }
  void set_suspect() { suspect_ = true; }
  // There are entries that a repair makes better (EntryRepair).
  bool has_repairable() const { return has_repairable_; }
  void set_repairable() { has_repairable_ = true; }
  const EntryRepair& entry_repair() const { return entry_repair_; }
  // Something that refers to clusters could not be followed: clusters that count as leaked may be
  // its data.
  bool is_incomplete() const { return incomplete_; }
  void set_incomplete() { incomplete_ = true; }
  bool repairs() const { return options_->repairs; }
  // Regions past the end of the file that something refers to, in bytes: whoever makes the file
  // longer keeps off them, or what reads as zeroes would read as something else. Of a file that is
  // nothing but such references, only so many are kept.
  const RangeSet& outside() const { return outside_; }
  // A table of which any byte is missing: what reads as zeroes there may yet be entries.
  void note_table(uint64_t offset, uint64_t size);
  // Something that may yet arrive is referred to past the end of the file.
  bool expects_more() const { return expects_more_; }
  // How many references each cluster past the end has. Of as many clusters as outside() has ranges
  // at most.
  const std::map<uint64_t, uint64_t>& outside_counts() const { return outside_counts_; }
  // Whether there are more references to a cluster than one, even where refcounts have one bit.
  bool is_referred_to_twice(uint64_t cluster) const {
    return counts_->count(cluster) > 1 || overflowed_.contains(cluster);
  }

  const layout::Geometry& geometry() const { return geometry_; }
  ReferenceCounts& counts() { return *counts_; }
  Findings& findings() { return *findings_; }
  // Whether the cluster there has more than one reference by now.
  bool is_shared(uint64_t offset) const;
  // Whether the cluster there is an L2 table and nothing else; the clusters in the range, each
  // referred to once. A repair writes to no others: entries of a damaged image may say that guest
  // data, or the header, is a table, and it may look like one.
  bool is_only_l2_table(uint64_t offset) const;
  bool is_referred_to_once(uint64_t offset, uint64_t length) const;
  // Whether an L2 table of the active disk is something else, too.
  bool has_overlapping_l2_table() const;

  // Clusters that begin below it lie wholly in the file.
  uint64_t whole_clusters_end() const { return file_->size() & ~geometry_.cluster_mask(); }

 private:
  Task<ConstBytes> read_l1(uint64_t offset, uint64_t length, uint64_t ahead);
  Task<ConstBytes> read_l2(uint64_t offset, uint64_t ahead);
  void report_unreadable(int level);
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
  CheckerFile l2_file_;  // apart, so that the L1 table stays in memory
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
  // Snapshots' L1 tables may lie over one another in any way, 65536 of them. Once a cluster has
  // been followed often enough, tables that go over it are only noted as ranges.
  std::unordered_map<uint64_t, uint64_t> l1_reads_;  // by host offset of an L1 table's cluster
  RangeSet known_l1_;
  OverlappingRanges owed_l1_;                            // entries that nobody has followed yet
  OverlappingRanges owed_l1_places_;                     // references to the tables themselves
  std::unordered_map<uint64_t, SharedTable> shared_l2_;  // by host offset of the table
};

}  // namespace byre::qcow2
