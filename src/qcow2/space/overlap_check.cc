// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/overlap_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>
#include <utility>

#include "byre/error.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

using layout::HostCluster;
using layout::HostOffset;
using layout::L1Entry;

namespace {

// QEMU's names, by MetadataKind.
constexpr std::array<const char*, kMetadataKinds> kNames{
    "qcow2_header",   "active L1 table",   "active L2 table",   "refcount table",  "refcount block",
    "snapshot table", "inactive L1 table", "inactive L2 table", "bitmap directory"};

// The order in which they are checked.
constexpr std::array<MetadataKind, kMetadataKinds> kOrder{
    MetadataKind::kMainHeader,    MetadataKind::kActiveL1,      MetadataKind::kActiveL2,
    MetadataKind::kRefcountTable, MetadataKind::kSnapshotTable, MetadataKind::kInactiveL1,
    MetadataKind::kRefcountBlock, MetadataKind::kInactiveL2,    MetadataKind::kBitmapDirectory};

constexpr MetadataKinds kConstant = MetadataKinds(MetadataKind::kMainHeader) |
                                    MetadataKind::kActiveL1 | MetadataKind::kRefcountTable |
                                    MetadataKind::kSnapshotTable | MetadataKind::kBitmapDirectory;
constexpr MetadataKinds kCached =
    kConstant | MetadataKind::kActiveL2 | MetadataKind::kRefcountBlock | MetadataKind::kInactiveL1;
constexpr MetadataKinds kAll = kCached | MetadataKind::kInactiveL2;
constexpr MetadataKinds kNeverAllocated = MetadataKinds(MetadataKind::kMainHeader) |
                                          MetadataKind::kActiveL1 | MetadataKind::kRefcountTable;

// The most L2 tables of snapshots that are tracked: 128 MiB of memory. An image with more of them
// is larger than the limits of a single snapshot make sensible.
constexpr size_t kInactiveL2TablesMax = size_t{16} << 20;
// The most L1 entries of snapshots that are read to find them: half a GiB of tables.
constexpr uint64_t kInactiveL1EntriesMax = uint64_t{64} << 20;

MetadataKinds template_kinds(const std::string& name) {
  if (name == "none") return {};
  if (name == "constant") return kConstant;
  if (name == "cached") return kCached;
  if (name == "all") return kAll;
  throw Error(
      ErrorKind::kInvalidArgument, EINVAL,
      ErrorData{.code = "qcow2-overlap-check-unknown", .field = "overlap-check", .text = name},
      fmt::format("overlap-check is '{}', not none, constant, cached or all", name));
}

}  // namespace

MetadataKinds MetadataKinds::of(const OverlapCheckOptions& options) {
  if (options.check && options.check_template && *options.check != *options.check_template) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "qcow2-overlap-checks-differ",
                          .field = "overlap-check",
                          .text = *options.check,
                          .name = *options.check_template},
                fmt::format("overlap-check is '{}', but overlap-check.template is '{}'",
                            *options.check, *options.check_template));
  }
  const std::optional<std::string>& name = options.check ? options.check : options.check_template;
  MetadataKinds kinds = template_kinds(name.value_or("cached"));
  for (size_t i = 0; i < kMetadataKinds; ++i) {
    const auto kind = static_cast<MetadataKind>(i);
    const bool is_wanted = options.kinds[i].value_or(kinds.has(kind));
    kinds = is_wanted ? kinds | kind : kinds.without(kind);
  }
  return kinds;
}

void ClusterSet::assign(std::vector<uint64_t> clusters) {
  clusters_ = std::move(clusters);
  std::ranges::sort(clusters_);
  const auto repeated = std::ranges::unique(clusters_);
  clusters_.erase(repeated.begin(), repeated.end());
}

void ClusterSet::add(HostCluster cluster) {
  const auto place = std::ranges::lower_bound(clusters_, cluster.value());
  if (place == clusters_.end() || *place != cluster.value()) {
    clusters_.insert(place, cluster.value());
  }
}

void ClusterSet::remove(HostCluster cluster) {
  const auto place = std::ranges::lower_bound(clusters_, cluster.value());
  if (place != clusters_.end() && *place == cluster.value()) clusters_.erase(place);
}

bool ClusterSet::overlaps(HostCluster first, HostCluster last) const {
  const auto place = std::ranges::lower_bound(clusters_, first.value());
  return place != clusters_.end() && *place <= last.value();
}

Task<void> OverlapCheck::load(const Refcounts& refcounts) {
  snapshot_table_size_ = 0;
  for (const layout::Snapshot& snapshot : *snapshots_) {
    snapshot_table_size_ += snapshot.encoded_size();
  }
  if (checked_.has(MetadataKind::kActiveL2)) load_l2_tables();
  if (checked_.has(MetadataKind::kRefcountBlock)) load_refcount_blocks(refcounts);
  if (checked_.has(MetadataKind::kInactiveL1)) load_inactive_l1_tables();
  if (checked_.has(MetadataKind::kInactiveL2)) co_await load_inactive_l2_tables();
}

void OverlapCheck::load_l2_tables() {
  std::vector<uint64_t> clusters;
  const L1Table& l1 = *l1_;
  for (uint64_t i = l1.next_used(0, l1.size()); i < l1.size(); i = l1.next_used(i + 1, l1.size())) {
    const L1Entry entry(l1.entry(i));
    if (!entry.offset().is_zero()) {
      clusters.push_back(context_->geometry.cluster_of(entry.offset()).value());
    }
  }
  l2_tables_.assign(std::move(clusters));
}

void OverlapCheck::load_refcount_blocks(const Refcounts& refcounts) {
  std::vector<uint64_t> clusters;
  for (const uint64_t word : refcounts.table()) {
    const layout::RefcountTableEntry entry(word);
    if (!entry.offset().is_zero()) {
      clusters.push_back(context_->geometry.cluster_of(entry.offset()).value());
    }
  }
  refcount_blocks_.assign(std::move(clusters));
}

void OverlapCheck::load_inactive_l1_tables() {
  std::vector<Range> ranges;
  for (const layout::Snapshot& snapshot : *snapshots_) {
    const uint64_t begin = snapshot.l1_table_offset.value();
    const uint64_t length = uint64_t{snapshot.l1_size} * 8;
    // A table there could not be read.
    if (length == 0 || begin > layout::limits::kFileSizeMax - length) continue;
    ranges.push_back({begin, begin + length});
  }
  std::ranges::sort(ranges, {}, &Range::begin);
  inactive_l1_tables_.clear();
  for (const Range& range : ranges) {
    std::vector<Range>& merged = inactive_l1_tables_;
    if (!merged.empty() && range.begin <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
}

Error OverlapCheck::too_many_inactive() const {
  return Error(
      ErrorKind::kNoMemory, ENOMEM,
      ErrorData{.code = "qcow2-snapshot-l2-tables-too-many", .file = context_->file().filename()},
      "the snapshots have too many L2 tables to track; open it without overlap-check.inactive-l2");
}

Task<void> OverlapCheck::load_inactive_l2_tables() {
  std::set<std::pair<uint64_t, uint32_t>> seen;
  std::vector<uint64_t> clusters;
  uint64_t entries = 0;
  for (const layout::Snapshot& snapshot : *snapshots_) {
    snapshot.validate_l1(context_->geometry);
    const bool is_new = seen.emplace(snapshot.l1_table_offset.value(), snapshot.l1_size).second;
    if (!is_new) continue;
    entries += snapshot.l1_size;
    if (entries > kInactiveL1EntriesMax) throw too_many_inactive();
    const L1Table l1 = co_await L1Table::load(&context_->file(), snapshot.l1_table_offset.value(),
                                              snapshot.l1_size);
    for (uint64_t i = l1.next_used(0, l1.size()); i < l1.size();
         i = l1.next_used(i + 1, l1.size())) {
      const L1Entry entry(l1.entry(i));
      if (!entry.offset().is_zero()) {
        clusters.push_back(context_->geometry.cluster_of(entry.offset()).value());
      }
    }
    if (clusters.size() > kInactiveL2TablesMax) throw too_many_inactive();
  }
  inactive_l2_tables_.assign(std::move(clusters));
}

bool OverlapCheck::hits(MetadataKind kind, uint64_t begin, uint64_t end) const {
  const layout::Header& header = context_->header();
  const layout::Geometry& geometry = context_->geometry;
  const auto touches = [begin, end](uint64_t offset, uint64_t length) {
    return length > 0 && begin < offset + length && offset < end;
  };
  const auto has = [&](const ClusterSet& tables) {
    return tables.overlaps(geometry.cluster_of(HostOffset(begin)),
                           geometry.cluster_of(HostOffset(end - 1)));
  };
  switch (kind) {
    case MetadataKind::kMainHeader:
      return begin < geometry.cluster_size();
    case MetadataKind::kActiveL1:
      return touches(l1_->offset(), uint64_t{l1_->size()} * 8);
    case MetadataKind::kActiveL2:
      return has(l2_tables_);
    case MetadataKind::kRefcountTable:
      return touches(header.refcount_table_offset.value(),
                     header.refcount_table_clusters * geometry.cluster_size());
    case MetadataKind::kRefcountBlock:
      return has(refcount_blocks_);
    case MetadataKind::kSnapshotTable:
      return touches(header.snapshots_offset.value(), snapshot_table_size_);
    case MetadataKind::kInactiveL1: {
      const auto table = std::ranges::upper_bound(inactive_l1_tables_, begin, {}, &Range::end);
      return table != inactive_l1_tables_.end() && table->begin < end;
    }
    case MetadataKind::kInactiveL2:
      return has(inactive_l2_tables_);
    case MetadataKind::kBitmapDirectory: {
      const auto& bitmaps = context_->extensions().bitmaps;
      return bitmaps && touches(bitmaps->directory_offset.value(), bitmaps->directory_size);
    }
  }
  return false;
}

void OverlapCheck::check_kinds(HostOffset offset, uint64_t length, MetadataKinds kinds) const {
  if (length == 0) return;
  const uint64_t begin = offset.value();
  const uint64_t end = begin + length;
  for (const MetadataKind kind : kOrder) {
    if (!kinds.has(kind) || !hits(kind, begin, end)) continue;
    const char* const name = kNames[static_cast<size_t>(kind)];
    throw context_->health.report_corruption(
        {.code = "qcow2-overlap", .offset = begin, .name = name},
        fmt::format("a write of {} bytes to host offset {:#x} would overwrite metadata: {}", length,
                    begin, name));
  }
}

void OverlapCheck::check_allocation(HostOffset offset, uint64_t length) const {
  check_kinds(offset, length, checked_ | kNeverAllocated);
}

void OverlapCheck::add_l2_table(HostOffset table) {
  l2_tables_.add(context_->geometry.cluster_of(table));
}

void OverlapCheck::remove_l2_table(HostOffset table) {
  l2_tables_.remove(context_->geometry.cluster_of(table));
}

void OverlapCheck::add_refcount_block(HostOffset block) {
  refcount_blocks_.add(context_->geometry.cluster_of(block));
}

}  // namespace byre::qcow2
