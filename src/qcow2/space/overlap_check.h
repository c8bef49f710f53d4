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

// A set of kinds of metadata.
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

  // The kinds that the template and the single options select. Throws Error(kInvalidArgument) if
  // they are invalid.
  static MetadataKinds of(const OverlapCheckOptions& options);

 private:
  explicit constexpr MetadataKinds(unsigned bits) : bits_(bits) {}
  unsigned bits_ = 0;
};

// Host clusters, sorted, 8 bytes each; a lookup is a binary search, however many clusters it
// covers. Tables are mostly added at the end of the file, where insertion is cheap.
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

// Checks every write to the image's file against the locations of its metadata, so that an image
// whose refcounts or L2 entries are wrong is not damaged further: QEMU's `overlap-check`. Part of
// an image's WriteParts.
//
// The locations are in memory: those that the header names, and those of the tables that the L1
// table and the refcount table name, which have to be reported here whenever these change. Only the
// L2 tables of snapshots must be read from the file, once; only the template "all" asks for them.
class OverlapCheck {
 public:
  // For an image with that L1 table and those snapshots.
  OverlapCheck(Context* context, MetadataKinds checked, const L1Table* l1,
               const std::vector<layout::Snapshot>* snapshots)
      : context_(context), checked_(checked), l1_(l1), snapshots_(snapshots) {}

  // Call before the first check; after a failure it may be called again.
  Task<void> load(const Refcounts& refcounts);

  // Throws Health::report_corruption() if the bytes belong to metadata of a kind that is checked.
  // `own`: the kind of the metadata that is to be written.
  void check(layout::HostOffset offset, uint64_t length, MetadataKinds own = {}) const {
    if (checked_ != MetadataKinds()) check_kinds(offset, length, checked_.without(own));
  }
  // The same for clusters that were just allocated: the header, the L1 table and the refcount table
  // must never be allocated, whatever the options say.
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
  std::vector<Range> inactive_l1_tables_;  // sorted; adjacent ones are merged
  uint64_t snapshot_table_size_ = 0;
};

}  // namespace byre::qcow2
