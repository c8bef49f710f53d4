// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/checked.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/limits.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

// All shifts and divisions of an image, computed once from its validated header. A small value:
// copy it. Nothing here changes while the image is open; the virtual disk size and the L1 table's
// size do, so they are arguments.
class Geometry {
 public:
  explicit Geometry(const Header& header);

  // Header fields that the meaning of table entries depends on.
  uint32_t version() const { return version_; }
  bool extended_l2() const { return extended_l2_; }
  bool external_data_file() const { return external_data_file_; }

  // Clusters.
  uint32_t cluster_bits() const { return cluster_bits_; }
  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits_; }
  uint64_t cluster_mask() const { return cluster_size() - 1; }
  uint64_t clusters_for(uint64_t size) const { return div_ceil(size, cluster_size()); }
  uint64_t offset_in_cluster(uint64_t offset) const { return offset & cluster_mask(); }
  uint64_t offset_in_cluster(GuestOffset offset) const { return offset.value() & cluster_mask(); }
  uint64_t offset_in_cluster(HostOffset offset) const { return offset.value() & cluster_mask(); }
  GuestOffset cluster_start(GuestOffset offset) const {
    return GuestOffset(offset.value() & ~cluster_mask());
  }
  HostOffset cluster_start(HostOffset offset) const {
    return HostOffset(offset.value() & ~cluster_mask());
  }
  bool is_cluster_aligned(HostOffset offset) const { return offset_in_cluster(offset) == 0; }
  HostCluster cluster_of(HostOffset offset) const {
    return HostCluster(offset.value() >> cluster_bits_);
  }
  // REQUIRES: `cluster` came from cluster_of(), so its offset fits.
  HostOffset offset_of(HostCluster cluster) const {
    return HostOffset(cluster.value() << cluster_bits_);
  }

  // Subclusters: 32 with extended L2 entries, otherwise one, which is the cluster.
  uint32_t subclusters_per_cluster() const {
    return extended_l2_ ? limits::kSubclustersPerCluster : 1;
  }
  uint32_t subcluster_bits() const { return extended_l2_ ? cluster_bits_ - 5 : cluster_bits_; }
  uint64_t subcluster_size() const { return uint64_t{1} << subcluster_bits(); }
  uint32_t subcluster_index(GuestOffset offset) const {
    return static_cast<uint32_t>(offset_in_cluster(offset) >> subcluster_bits());
  }

  // L1 and L2 tables. An L2 table is one cluster.
  uint32_t l2_entry_size() const { return extended_l2_ ? 16 : 8; }
  uint32_t l2_entries() const { return uint32_t{1} << l2_bits_; }
  uint64_t l1_index(GuestOffset offset) const { return offset.value() >> l1_shift(); }
  uint32_t l2_index(GuestOffset offset) const {
    return static_cast<uint32_t>(offset.value() >> cluster_bits_) & (l2_entries() - 1);
  }
  // Guest bytes that one L2 table maps, and the base-2 logarithm of that number (at most 39).
  uint64_t l2_coverage() const { return uint64_t{1} << l1_shift(); }
  uint32_t l1_shift() const { return cluster_bits_ + l2_bits_; }
  // REQUIRES: `l1_index` is below kL1EntriesMax and `l2_index` below l2_entries(), so that the
  // result fits.
  GuestOffset guest_offset(uint64_t l1_index, uint32_t l2_index) const {
    return GuestOffset((l1_index << l1_shift()) | (uint64_t{l2_index} << cluster_bits_));
  }
  // Entries of an L1 table for a disk of that size in bytes; no limit is checked
  // (limits::kL1EntriesMax).
  uint64_t l1_entries_for(uint64_t disk_size) const { return div_ceil(disk_size, l2_coverage()); }
  // The largest disk, in bytes, that an L1 table of QEMU's maximum size can map.
  uint64_t disk_size_max() const;
  // Clusters for a table of that many 8-byte entries (L1, refcount, bitmap table).
  uint64_t clusters_for_entries(uint64_t entries) const { return clusters_for(entries * 8); }

  // Refcounts. A refcount block is one cluster.
  uint32_t refcount_order() const { return refcount_order_; }
  uint32_t refcount_bits() const { return uint32_t{1} << refcount_order_; }
  uint64_t refcount_max() const;  // the largest refcount that an entry holds
  uint32_t refcount_block_bits() const { return cluster_bits_ + 3 - refcount_order_; }
  uint64_t refcount_block_entries() const { return uint64_t{1} << refcount_block_bits(); }
  uint64_t refcount_table_index(HostCluster cluster) const {
    return cluster.value() >> refcount_block_bits();
  }
  uint64_t refcount_block_index(HostCluster cluster) const {
    return cluster.value() & (refcount_block_entries() - 1);
  }
  // The first cluster whose refcount is in the block of that table entry.
  HostCluster refcount_block_start(uint64_t table_index) const {
    return HostCluster(table_index << refcount_block_bits());
  }

  // Compressed cluster descriptors ("Compressed Clusters Descriptor").
  uint32_t compressed_offset_bits() const { return 62 - (cluster_bits_ - 8); }  // x
  uint64_t compressed_offset_mask() const { return (uint64_t{1} << compressed_offset_bits()) - 1; }
  // The largest count of additional sectors that a descriptor can hold.
  uint64_t compressed_sectors_max() const { return (uint64_t{1} << (cluster_bits_ - 8)) - 1; }
  // The first host offset that a descriptor cannot hold: 2^x, but at most 2^56.
  uint64_t compressed_offset_end() const;

  bool operator==(const Geometry&) const = default;

 private:
  uint32_t version_;
  uint32_t cluster_bits_;
  uint32_t l2_bits_;
  uint32_t refcount_order_;
  bool extended_l2_;
  bool external_data_file_;
};

}  // namespace byre::qcow2::layout
