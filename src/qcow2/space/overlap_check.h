// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "byre/error.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/layout/types.h"
#include "qcow2/tables/l1_table.h"

namespace byre::qcow2 {

class Refcounts;

// Some of the kinds of metadata.
class MetadataKinds {
 public:
  constexpr MetadataKinds() = default;
  constexpr MetadataKinds(MetadataKind kind)
      : bits_(1u << static_cast<unsigned>(kind)) {}  // NOLINT
  constexpr MetadataKinds operator|(MetadataKinds other) const {
    return MetadataKinds(bits_ | other.bits_);
  }
  constexpr MetadataKinds without(MetadataKinds other) const {
    return MetadataKinds(bits_ & ~other.bits_);
  }
  constexpr bool has(MetadataKind kind) const { return (bits_ >> static_cast<unsigned>(kind)) & 1; }
  constexpr bool operator==(const MetadataKinds&) const = default;

  // What the template and the single options ask for. Throws Error(kInvalidArgument) in QEMU's
  // words where they make no sense.
  static MetadataKinds of(const OverlapCheckOptions& options);

 private:
  explicit constexpr MetadataKinds(unsigned bits) : bits_(bits) {}
  unsigned bits_ = 0;
};

// Host clusters, kept sorted: 8 bytes each, a question costs a binary search however many clusters
// it is about. Tables are added at the end of the file more often than not, which costs nothing.
class ClusterSet {
 public:
  void assign(std::vector<uint64_t> clusters);
  void add(layout::HostCluster cluster);
  void remove(layout::HostCluster cluster);
  bool overlaps(layout::HostCluster first, layout::HostCluster last) const;
  size_t size() const { return clusters_.size(); }

 private:
  std::vector<uint64_t> clusters_;
};

// Holds every write to the image's file against the places of its metadata, so that an image whose
// refcounts or L2 entries are wrong is not made worse: QEMU's `overlap-check`. Part of an image's
// WriteState.
//
// The places are in memory: those that the header names, and the tables that the L1 table and the
// refcount table name, which whoever changes these reports here. Only the L2 tables of snapshots
// must be read from the file, once; no template but "all" asks for them.
class OverlapCheck {
 public:
  // Of an image with that L1 table and those snapshots.
  OverlapCheck(Context* context, MetadataKinds checked, const L1Table* l1,
               const std::vector<layout::Snapshot>* snapshots)
      : context_(context), checked_(checked), l1_(l1), snapshots_(snapshots) {}

  // Before the first check.
  Task<void> load(const Refcounts& refcounts);

  // Throws Health::report_corruption() where the bytes belong to metadata of a kind that is checked.
  // `own`: what is to be written is metadata of this kind.
  void check(layout::HostOffset offset, uint64_t length, MetadataKinds own = {}) const {
    if (checked_ != MetadataKinds()) check_kinds(offset, length, checked_.without(own));
  }
  // The same for clusters that were given to somebody: the header, the L1 table and the refcount
  // table are never given away, whatever the options say.
  void check_allocation(layout::HostOffset offset, uint64_t length) const;

  void add_l2_table(layout::HostOffset table);
  void remove_l2_table(layout::HostOffset table);
  void add_refcount_block(layout::HostOffset block);

 private:
  struct Range {
    uint64_t begin;
    uint64_t end;
  };

  void check_kinds(layout::HostOffset offset, uint64_t length, MetadataKinds kinds) const;
  bool hits(MetadataKind kind, uint64_t begin, uint64_t end) const;
  void load_l2_tables();
  void load_refcount_blocks(const Refcounts& refcounts);
  void load_inactive_l1_tables();
  Task<void> load_inactive_l2_tables();
  Error too_many_inactive() const;

  Context* context_;
  MetadataKinds checked_;
  const L1Table* l1_;
  const std::vector<layout::Snapshot>* snapshots_;
  ClusterSet l2_tables_;
  ClusterSet refcount_blocks_;
  ClusterSet inactive_l2_tables_;
  std::vector<Range> inactive_l1_tables_;  // sorted, and those that touch as one
  uint64_t snapshot_table_size_ = 0;
};

}  // namespace byre::qcow2
