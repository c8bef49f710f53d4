// SPDX-License-Identifier: Apache-2.0
#include "qcow2/update/l2_table_walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "async/when_all.h"
#include "base/units.h"
#include "block/read_zero_padded.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::L2Entry;
using layout::L2Stretch;

namespace {

// Bytes of tables in memory, and tables that are read at once.
constexpr uint64_t kBatchBytes = 4 * kMiB;
constexpr uint64_t kBatchTablesMax = 32;

}  // namespace

L2Stretch entries_alike(ConstBytes table, uint32_t index, const layout::Geometry& geometry) {
  L2Stretch stretch = layout::l2_stretch_at(table, index, geometry.l2_entries(), geometry);
  const bool has_cluster = stretch.first.has_offset(geometry);
  if (stretch.first.is_compressed() || has_cluster != (stretch.step != 0)) {
    stretch.count = 1;
  } else if (has_cluster) {
    // Past the highest offset the next word has other bits than its predecessor.
    const uint64_t room = layout::limits::kHostOffsetEnd - stretch.first.offset().value();
    const uint64_t clusters_max = std::max<uint64_t>(room >> geometry.cluster_bits(), 1);
    stretch.count = static_cast<uint32_t>(std::min<uint64_t>(stretch.count, clusters_max));
  }
  return stretch;
}

std::vector<ClusterRange> clusters_of(Context& context, const L2TableWalk::Table& table) {
  const layout::Geometry& geometry = context.geometry;
  std::vector<ClusterRange> clusters;
  // The clusters of an external data file have no refcounts.
  if (geometry.external_data_file()) return clusters;
  const auto add = [&clusters](HostCluster first, uint64_t count) {
    if (!clusters.empty() && clusters.back().end() == first) {
      clusters.back().count += count;
    } else {
      clusters.push_back({first, count});
    }
  };
  uint32_t next = 0;
  while (next < geometry.l2_entries()) {
    const uint32_t index = next;
    const L2Stretch stretch = entries_alike(table.bytes, index, geometry);
    const L2Entry entry = stretch.first;
    next += stretch.count;
    if (entry.word() == 0) continue;
    const layout::L2Problem problem = entry.problem(geometry);
    if (problem == layout::L2Problem::kUnaligned ||
        problem == layout::L2Problem::kCompressedOffset) {
      throw context.health.report_corruption(
          {.code = "qcow2-cluster-unaligned",
           .value = entry.offset().value(),
           .index = index,
           .offset = table.offset.value()},
          fmt::format("L2 entry {} of the L2 table at {:#x} has the host offset {:#x}, which is "
                      "not at the start of a cluster, or too high",
                      index, table.offset.value(), entry.offset().value()));
    }
    if (entry.is_compressed()) {
      const layout::CompressedRange range = entry.compressed_range(geometry);
      const HostCluster first = geometry.cluster_of(range.offset);
      add(first, geometry.cluster_of(range.offset + (range.size - 1)) - first + 1);
    } else if (entry.has_offset(geometry)) {
      add(geometry.cluster_of(entry.offset()), stretch.count);
    }
  }
  return clusters;
}

Task<std::optional<L2TableWalk::Table>> L2TableWalk::next() {
  if (next_in_batch_ == batch_.size()) co_await read_batch();
  if (batch_.empty()) co_return std::nullopt;
  co_return batch_[next_in_batch_++];
}

Task<void> L2TableWalk::read_table(Table* table) {
  co_await context_->events().raise(DebugEvent::kL2Load);
  const ReadBuffers to(table->bytes);
  co_await read_zero_padded(&context_->file(), table->offset.value(), to);
}

Task<void> L2TableWalk::read_batch() {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t table_size = geometry.cluster_size();
  const uint64_t tables_max = std::clamp<uint64_t>(kBatchBytes / table_size, 1, kBatchTablesMax);
  batch_.clear();
  next_in_batch_ = 0;
  for (; next_index_ < l1_->size() && batch_.size() < tables_max; ++next_index_) {
    const layout::L1Entry entry((*l1_)[next_index_]);
    const layout::L1Kind kind = entry.kind(geometry);
    if (kind == layout::L1Kind::kUnallocated) continue;
    if (kind == layout::L1Kind::kInvalid) {
      const uint64_t offset = entry.offset().value();
      throw context_->health.report_corruption(
          {.code = "qcow2-l2-table-unaligned", .value = offset, .index = next_index_},
          fmt::format("L1 entry {} has the L2 table offset {:#x}, not a multiple of the cluster "
                      "size {}",
                      next_index_, offset, table_size));
    }
    if (buffer_.size() == 0) buffer_ = Buffer(tables_max * table_size);
    batch_.push_back(
        {next_index_, entry.offset(), buffer_.bytes(batch_.size() * table_size, table_size)});
  }
  std::vector<Task<void>> reads;
  for (Table& table : batch_) reads.push_back(read_table(&table));
  co_await when_all(std::move(reads));
}

}  // namespace byre::qcow2
