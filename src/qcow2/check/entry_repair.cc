// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/entry_repair.h"

#include "base/checked.h"

namespace byre::qcow2 {

using layout::L1Entry;
using layout::L2Entry;

EntryRepair::EntryRepair(const layout::Header& header, uint64_t file_size, bool drops_past_end)
    : geometry_(header),
      file_size_(file_size),
      has_backing_file_(header.has_backing_file()),
      drops_past_end_(drops_past_end) {}

bool EntryRepair::has_data(const L2Entry& entry) const {
  if (geometry_.extended_l2()) return (entry.bitmap() & L2Entry::kAllAllocated) != 0;
  return (entry.word() & L2Entry::kZero) == 0;
}

bool EntryRepair::is_outside(uint64_t offset, uint64_t size, uint64_t file_size,
                             uint64_t cluster_size) {
  const std::optional<uint64_t> end = checked_add(offset, size);
  return !end || (*end > file_size && *end - file_size >= cluster_size);
}

std::optional<L1Entry> EntryRepair::repaired(L1Entry entry) const {
  if (!drops_past_end_ || entry.kind(geometry_) != layout::L1Kind::kTable) return std::nullopt;
  const uint64_t size = geometry_.cluster_size();
  if (!is_outside(entry.offset().value(), size, file_size_, size)) return std::nullopt;
  return L1Entry();
}

std::optional<L2Entry> EntryRepair::repaired(const L2Entry& entry) const {
  if (geometry_.external_data_file()) return std::nullopt;
  if (entry.is_compressed()) {
    const layout::CompressedRange range = entry.compressed_range(geometry_);
    const bool is_past_end =
        is_outside(range.offset.value(), range.size, file_size_, geometry_.cluster_size());
    if (is_past_end && drops_past_end_) return all_zeroes();
    if (!entry.copied()) return std::nullopt;
    return entry.with_copied(false);
  }
  if (entry.offset().is_zero()) return std::nullopt;
  const uint64_t size = geometry_.cluster_size();
  if (geometry_.is_cluster_aligned(entry.offset())) {
    if (entry.problem(geometry_) != layout::L2Problem::kNone) return std::nullopt;
    if (!is_outside(entry.offset().value(), size, file_size_, size)) return std::nullopt;
    if (has_data(entry) && !drops_past_end_) return std::nullopt;
    return without_place(entry);
  }
  if (has_data(entry) || geometry_.version() < 3) return std::nullopt;
  return without_place(entry);
}

// The same entry with zeroes instead of its data. Reserved bits are dropped with the offset.
std::optional<L2Entry> EntryRepair::without_place(const L2Entry& entry) const {
  if (geometry_.extended_l2()) {
    const uint64_t allocated = entry.bitmap() & L2Entry::kAllAllocated;
    return L2Entry(0, (entry.bitmap() & L2Entry::kAllZero) | (allocated << 32));
  }
  return all_zeroes();
}

std::optional<L2Entry> EntryRepair::all_zeroes() const {
  if (geometry_.version() >= 3) return L2Entry::zero_plain(geometry_);
  // Version 2 has no zero clusters, but without a backing file an unallocated cluster reads as
  // zeroes.
  if (has_backing_file_) return std::nullopt;
  return L2Entry();
}

}  // namespace byre::qcow2
