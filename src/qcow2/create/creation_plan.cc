// SPDX-License-Identifier: Apache-2.0
#include "qcow2/create/creation_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "byre/error.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2 {

namespace {

// QEMU allocates host clusters for as many guest clusters at once as one 4 KiB slice of an L2 table
// maps.
constexpr uint64_t kL2SliceSize = 4096;

class Planner {
 public:
  Planner(const CreateOptions& options, uint64_t size) : options_(options) {
    entry_size_ = options.extended_l2 ? 16 : 8;
    l2_entries_ = options.cluster_size / entry_size_;
    block_entries_ = options.cluster_size * 8 / options.refcount_bits;
    guest_clusters_ = div_ceil(size, options.cluster_size);
    plan_.cluster_size = options.cluster_size;
    plan_.l1_entries = div_ceil(guest_clusters_, l2_entries_);
  }

  CreationPlan make() {
    const bool maps = options_.preallocation != Preallocation::kOff || options_.data_file_raw;
    const bool reserves = options_.preallocation == Preallocation::kFalloc ||
                          options_.preallocation == Preallocation::kFull;
    // The refcount table is enlarged until it holds the blocks that the plan needs.
    uint64_t table_clusters = 1;
    for (;;) {
      if (maps && reserves && !options_.data_filename && guest_clusters_ > 0) {
        plan_in_one_piece(table_clusters);
      } else {
        plan_in_turn(table_clusters, maps);
      }
      const uint64_t needed = div_ceil(plan_.refcount_blocks.size() * 8, options_.cluster_size);
      check_refcount_table(needed);
      if (needed <= table_clusters) return std::move(plan_);
      table_clusters = needed;
    }
  }

 private:
  void start(uint64_t table_clusters) {
    plan_.refcount_table_clusters = table_clusters;
    plan_.refcount_blocks.clear();
    plan_.l2_tables.clear();
    plan_.data.clear();
    plan_.clusters = 0;
  }

  uint64_t l1_clusters() const { return div_ceil(plan_.l1_entries * 8, options_.cluster_size); }

  // Allocates `count` clusters at the end, followed by the refcount blocks that these and the
  // blocks themselves need.
  uint64_t allocate(uint64_t count) {
    const uint64_t first = plan_.clusters;
    plan_.clusters += count;
    while (plan_.refcount_blocks.size() * block_entries_ < plan_.clusters) {
      plan_.refcount_blocks.push_back(plan_.clusters++);
    }
    return first;
  }

  void allocate_l1_table() { plan_.l1_table = plan_.l1_entries == 0 ? 0 : allocate(l1_clusters()); }

  void add_data(uint64_t guest_cluster, uint64_t host_cluster, uint64_t count) {
    if (!plan_.data.empty()) {
      DataRun& last = plan_.data.back();
      if (last.host_cluster + last.count == host_cluster &&
          last.guest_cluster + last.count == guest_cluster) {
        last.count += count;
        return;
      }
    }
    plan_.data.push_back({guest_cluster, host_cluster, count});
  }

  void plan_in_turn(uint64_t table_clusters, bool maps) {
    start(table_clusters);
    plan_.refcount_table = 1;
    allocate(1 + table_clusters);
    allocate_l1_table();
    if (!maps) return;
    const uint64_t slice_entries = std::min(kL2SliceSize / entry_size_, l2_entries_);
    for (uint64_t guest = 0; guest < guest_clusters_;) {
      if (guest % l2_entries_ == 0) plan_.l2_tables.push_back(allocate(1));
      const uint64_t count = std::min(slice_entries, guest_clusters_ - guest);
      if (!options_.data_filename) add_data(guest, allocate(count), count);
      guest += count;
    }
  }

  void plan_in_one_piece(uint64_t table_clusters) {
    // The number of blocks is known only at the end; a second round puts them before the data.
    uint64_t blocks = 0;
    for (;;) {
      start(table_clusters);
      plan_.l2_tables.push_back(1);
      allocate(2);
      allocate_l1_table();
      while (plan_.refcount_blocks.size() < blocks) {
        plan_.refcount_blocks.push_back(plan_.clusters++);
      }
      plan_.refcount_table = allocate(table_clusters);
      add_data(0, allocate(guest_clusters_), guest_clusters_);
      while (plan_.l2_tables.size() < plan_.l1_entries) plan_.l2_tables.push_back(allocate(1));
      if (plan_.refcount_blocks.size() == blocks) return;
      blocks = plan_.refcount_blocks.size();
    }
  }

  void check_refcount_table(uint64_t clusters) const {
    constexpr uint64_t kSizeMax = layout::limits::kRefcountTableSizeMax;
    if (clusters * options_.cluster_size <= std::max(kSizeMax, options_.cluster_size)) return;
    throw Error(ErrorKind::kNoSpace, EFBIG,
                ErrorData{.code = "qcow2-size-beyond-refcount-table",
                          .value = clusters * options_.cluster_size,
                          .bound = kSizeMax},
                fmt::format("the refcount table would take {} bytes; at most {} are allowed",
                            clusters * options_.cluster_size, kSizeMax));
  }

  const CreateOptions& options_;
  uint64_t entry_size_ = 0;
  uint64_t l2_entries_ = 0;
  uint64_t block_entries_ = 0;
  uint64_t guest_clusters_ = 0;
  CreationPlan plan_;
};

}  // namespace

CreationPlan CreationPlan::make(const CreateOptions& options, uint64_t size) {
  return Planner(options, size).make();
}

}  // namespace byre::qcow2
