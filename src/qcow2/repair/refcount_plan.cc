// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/refcount_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>

#include "byre/error.h"
#include "qcow2/layout/limits.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {
namespace {

// The indexes of the blocks that count any references, ascending.
std::vector<uint64_t> used_blocks(const ReferenceCounts& counts, const layout::Geometry& geometry) {
  std::vector<uint64_t> blocks;
  const auto page_counts = std::make_unique<ReferenceCounts::PageCounts>();
  const uint32_t block_bits = geometry.refcount_block_bits();
  for (uint64_t page = 0; page < counts.page_count(); ++page) {
    if (!counts.load_page(page, page_counts.get())) continue;
    for (uint64_t i = 0; i < ReferenceCounts::kPageClusters; ++i) {
      if ((*page_counts)[i] == 0) continue;
      const uint64_t block = (page * ReferenceCounts::kPageClusters + i) >> block_bits;
      if (blocks.empty() || blocks.back() != block) blocks.push_back(block);
    }
  }
  return blocks;
}

// `used`, and the blocks that count the clusters [first, first + count).
std::vector<uint64_t> with_blocks_of(const std::vector<uint64_t>& used, uint64_t first,
                                     uint64_t count, uint32_t block_bits) {
  std::vector<uint64_t> own;
  for (uint64_t block = first >> block_bits; block <= (first + count - 1) >> block_bits; ++block) {
    own.push_back(block);
  }
  std::vector<uint64_t> all;
  std::ranges::set_union(used, own, std::back_inserter(all));
  return all;
}

void check_table_size(const RefcountPlan& plan) {
  const uint64_t entries = plan.blocks.back() + 1;
  if (entries <= layout::limits::kRefcountTableEntriesMax) return;
  throw Error(ErrorKind::kNoSpace, EFBIG,
              ErrorData{.code = "qcow2-rebuilt-refcount-table-too-large",
                        .value = entries,
                        .bound = layout::limits::kRefcountTableEntriesMax},
              fmt::format("a refcount table of {} entries would be needed; at most {} are "
                          "supported",
                          entries, layout::limits::kRefcountTableEntriesMax));
}

}  // namespace

RefcountPlan plan_refcounts(const ReferenceCounts& counts, const layout::Geometry& geometry,
                            uint64_t first) {
  const std::vector<uint64_t> used = used_blocks(counts, geometry);
  RefcountPlan plan{.first = first, .table_clusters = 1, .blocks = used};
  for (;;) {
    std::vector<uint64_t> blocks =
        with_blocks_of(used, first, plan.cluster_count(), geometry.refcount_block_bits());
    const uint64_t table_clusters = geometry.clusters_for_entries(blocks.back() + 1);
    const bool is_settled =
        blocks.size() == plan.blocks.size() && table_clusters == plan.table_clusters;
    plan.blocks = std::move(blocks);
    plan.table_clusters = table_clusters;
    if (is_settled) break;
  }
  check_table_size(plan);
  return plan;
}

RefcountPlan plan_refcounts(const ReferenceCounts& counts, const layout::Geometry& geometry,
                            const std::vector<uint64_t>& own) {
  std::set<uint64_t> blocks;
  for (const uint64_t block : used_blocks(counts, geometry)) blocks.insert(block);
  for (const uint64_t cluster : own) blocks.insert(cluster >> geometry.refcount_block_bits());
  if (blocks.empty()) blocks.insert(0);
  RefcountPlan plan;
  plan.blocks.assign(blocks.begin(), blocks.end());
  plan.table_clusters = geometry.clusters_for_entries(plan.blocks.back() + 1);
  check_table_size(plan);
  return plan;
}

void fill_refcount_block(const ReferenceCounts& counts, const layout::Geometry& geometry,
                         uint64_t index, Bytes block) {
  std::ranges::fill(block, uint8_t{0});
  const auto page_counts = std::make_unique<ReferenceCounts::PageCounts>();
  const uint64_t first = index << geometry.refcount_block_bits();
  const uint64_t end = std::min(first + geometry.refcount_block_entries(), counts.cluster_count());
  for (uint64_t cluster = first; cluster < end;) {
    const uint64_t in_page = cluster % ReferenceCounts::kPageClusters;
    const uint64_t piece = std::min(end - cluster, ReferenceCounts::kPageClusters - in_page);
    if (counts.load_page(cluster / ReferenceCounts::kPageClusters, page_counts.get())) {
      for (uint64_t i = 0; i < piece; ++i) {
        layout::store_refcount(block, cluster - first + i, geometry.refcount_order(),
                               (*page_counts)[in_page + i]);
      }
    }
    cluster += piece;
  }
}

}  // namespace byre::qcow2
