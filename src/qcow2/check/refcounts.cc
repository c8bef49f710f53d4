// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/refcounts.h"

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "block/read_zero_padded.h"

namespace byre::qcow2 {

using layout::RefcountTableEntry;

namespace {

std::vector<RefcountTableEntry> table_entries_of(ConstBytes bytes) {
  std::vector<RefcountTableEntry> entries(bytes.size() / 8);
  const uint8_t* from = bytes.data();
  for (RefcountTableEntry& entry : entries) {
    entry = RefcountTableEntry(load_big_endian<uint64_t>(from));
    from += 8;
  }
  return entries;
}

}  // namespace

StoredRefcounts::StoredRefcounts(const layout::Header& header, CheckerFile* file,
                                 ReferenceCounter* references, const CheckOptions* options)
    : geometry_(references->geometry()),
      table_offset_(header.refcount_table_offset.value()),
      table_size_(uint64_t{header.refcount_table_clusters} << header.cluster_bits),
      file_(file),
      references_(references),
      options_(options),
      block_file_(&file->device()),
      slice_size_(std::min(kSliceSize, geometry_.cluster_size())) {}

Task<void> StoredRefcounts::read_table() {
  const uint64_t size = file_->stored(table_offset_, table_size_);
  if (size == 0) co_return;
  Buffer bytes(size);
  co_await read_zero_padded(&file_->device(), table_offset_, ReadBuffers(bytes.bytes()));
  table_ = table_entries_of(bytes.bytes());
}

void StoredRefcounts::count_table() {
  if (references_->is_outside(table_offset_, table_size_)) {
    is_past_end_ = true;
    references_->report_outside(table_offset_, table_size_);
  } else {
    references_->count_region(table_offset_, table_size_);
  }
  for (const RefcountTableEntry& entry : table_) {
    if (entry.word() != 0) count_block(static_cast<uint64_t>(&entry - table_.data()), entry);
  }
  for (uint64_t at = 0; at < table_size_; at += geometry_.cluster_size()) {
    const uint64_t cluster = (table_offset_ + at) >> geometry_.cluster_bits();
    if (references_->is_referred_to_twice(cluster)) is_table_shared_ = true;
  }
}

void StoredRefcounts::note_bad_structure() {
  must_be_rebuilt_ = true;
  is_structure_bad_ = true;
}

void StoredRefcounts::count_block(uint64_t index, RefcountTableEntry entry) {
  Findings& findings = references_->findings();
  const uint64_t offset = entry.offset().value();
  const uint64_t cluster = offset >> geometry_.cluster_bits();
  if (entry.reserved_bits() != 0) {
    note_bad_structure();
    findings.add(
        {.kind = FindingKind::kRefcountTableReservedBits, .offset = offset, .index = index});
    return;
  }
  if (!geometry_.is_cluster_aligned(entry.offset())) {
    note_bad_structure();
    findings.add({.kind = FindingKind::kRefcountBlockUnaligned, .offset = offset, .index = index});
    return;
  }
  if (cluster >= references_->counts().cluster_count()) {
    const uint64_t first = index << geometry_.refcount_block_bits();
    if (first < references_->counts().cluster_count()) {
      note_bad_structure();
      is_past_end_ = true;
    } else {
      has_block_past_end_ = true;
      references_->count_outside(offset, geometry_.cluster_size(), 1);
    }
    findings.add({.kind = FindingKind::kRefcountBlockOutside, .offset = offset, .index = index});
    return;
  }
  references_->count_region(offset, geometry_.cluster_size());
  const uint64_t count = references_->counts().count(cluster);
  if (references_->is_referred_to_twice(cluster)) note_bad_structure();
  if (count == 1) return;
  findings.add({.kind = FindingKind::kRefcountBlockShared,
                .offset = offset,
                .index = index,
                .references = count});
}

bool StoredRefcounts::can_read(RefcountTableEntry entry) const {
  return entry.kind(geometry_) != layout::RefcountTableKind::kInvalid;
}

bool StoredRefcounts::is_unused(uint64_t first, uint64_t count) const {
  const ReferenceCounts& counts = references_->counts();
  for (uint64_t page = first >> ReferenceCounts::kPageBits;
       page <= (first + count - 1) >> ReferenceCounts::kPageBits; ++page) {
    if (!counts.page_is_empty(page)) return false;
  }
  return true;
}

// Reads a block into block_file_; reports a finding and returns false if it cannot be read.
Task<bool> StoredRefcounts::load_block(uint64_t index) {
  const RefcountTableEntry entry = this->entry(index);
  if (!can_read(entry)) {
    if (!geometry_.is_cluster_aligned(entry.offset()) && !has_reported_block_) {
      has_reported_block_ = true;
      references_->findings().add({.kind = FindingKind::kRefcountBlockNotRead,
                                   .severity = Severity::kNote,
                                   .offset = entry.offset().value(),
                                   .index = index});
    }
    co_return false;
  }
  bool is_read = true;
  try {
    co_await block_file_.read(entry.offset().value(), geometry_.cluster_size(), 0);
  } catch (const Error&) {
    is_read = false;
  }
  co_return is_read;
}

void StoredRefcounts::report_unreadable(uint64_t first, uint64_t count) {
  references_->set_suspect();
  note_bad_structure();
  unreliable_blocks_.insert(first >> geometry_.refcount_block_bits());
  for (uint64_t cluster = first; cluster < first + count; ++cluster) {
    references_->findings().add({.kind = FindingKind::kRefcountUnreadable,
                                 .severity = Severity::kCheckError,
                                 .offset = cluster << geometry_.cluster_bits(),
                                 .index = cluster});
  }
}

Task<uint64_t> StoredRefcounts::compare() {
  const uint64_t clusters = references_->counts().cluster_count();
  const uint64_t block_entries = geometry_.refcount_block_entries();
  const ConstBytes none;
  for (uint64_t first = 0; first < clusters; first += block_entries) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    if (options_->on_progress) options_->on_progress(clusters + first, 2 * clusters);
    const uint64_t count = std::min(block_entries, clusters - first);
    const RefcountTableEntry entry = this->entry(first / block_entries);
    if (entry.offset().is_zero()) {
      if (!is_unused(first, count)) compare_block(none, first, count);
      continue;
    }
    const bool is_read = co_await load_block(first / block_entries);
    if (!is_read) {
      report_unreadable(first, count);
      continue;
    }
    const auto block = block_file_.kept(entry.offset().value(), geometry_.cluster_size());
    compare_block(*block, first, count);
  }
  co_return used_end_ << geometry_.cluster_bits();
}

// Whether the refcounts of these clusters of one page are known to be right; false if that is not
// easily determined.
bool StoredRefcounts::agrees(ConstBytes block, uint64_t index, uint64_t first, uint64_t count) {
  if (geometry_.refcount_order() != 4) return false;
  const ConstBytes refcounts = block.subspan(index * 2, count * 2);
  if (!references_->counts().surely_equal(first, refcounts)) return false;
  for (uint64_t used = count; used > 0; --used) {
    if (layout::load_refcount(refcounts, used - 1, 4) == 0) continue;
    used_end_ = first + used;
    break;
  }
  return true;
}

// An empty `block` means that all refcounts are 0.
void StoredRefcounts::compare_block(ConstBytes block, uint64_t first, uint64_t count) {
  const ReferenceCounts& counts = references_->counts();
  const bool is_zero = is_all_zero(block);
  for (uint64_t done = 0; done < count;) {
    const uint64_t in_page = (first + done) % ReferenceCounts::kPageClusters;
    const uint64_t piece = std::min(count - done, ReferenceCounts::kPageClusters - in_page);
    if (!is_zero && agrees(block, done, first + done, piece)) {
      done += piece;
      continue;
    }
    const bool has_references =
        counts.load_page((first + done) / ReferenceCounts::kPageClusters, &page_counts_);
    if (!has_references && is_zero) {
      done += piece;
      continue;
    }
    if (!has_references) page_counts_.fill(0);
    for (uint64_t i = 0; i < piece; ++i) {
      const uint64_t refcount =
          is_zero ? 0 : layout::load_refcount(block, done + i, geometry_.refcount_order());
      const uint64_t references = page_counts_[in_page + i];
      if ((refcount | references) == 0) continue;
      const uint64_t cluster = first + done + i;
      used_end_ = cluster + 1;
      if (refcount == references) continue;
      references_->set_suspect();
      if (refcount == 0) {
        must_be_rebuilt_ = true;
        if (block.empty()) is_structure_bad_ = true;
        unreliable_blocks_.insert(cluster >> geometry_.refcount_block_bits());
      }
      report_difference(cluster, refcount, references, Difference::kFound);
    }
    done += piece;
  }
}

void StoredRefcounts::report_difference(uint64_t cluster, uint64_t refcount, uint64_t references,
                                        Difference difference) {
  const bool is_leak = refcount > references;
  const bool is_repaired = difference == Difference::kRepaired;
  const Severity severity = is_leak ? Severity::kLeak : Severity::kCorruption;
  references_->findings().add(
      {.kind = is_leak ? FindingKind::kLeakedCluster : FindingKind::kRefcountTooLow,
       .severity = difference == Difference::kLeft ? Severity::kNote : severity,
       .offset = cluster << geometry_.cluster_bits(),
       .index = cluster,
       .refcount = refcount,
       .references = references,
       .is_repaired = is_repaired});
}

StoredRefcounts::Location StoredRefcounts::location_of(RefcountTableEntry entry,
                                                       uint64_t cluster) const {
  const uint64_t bit = (cluster & (geometry_.refcount_block_entries() - 1))
                       << geometry_.refcount_order();
  const uint64_t byte = align_down(bit / 8, slice_size_);
  Location location;
  location.offset = entry.offset().value() + byte;
  location.index = (bit - byte * 8) >> geometry_.refcount_order();
  location.slot = (location.offset / slice_size_) % kSlices;
  return location;
}

StoredRefcounts::Lookup StoredRefcounts::find(uint64_t cluster) const {
  const RefcountTableEntry entry = this->entry(cluster / geometry_.refcount_block_entries());
  if (!can_read(entry)) return {true, std::nullopt};
  if (entry.offset().is_zero()) return {true, 0};
  const Location location = location_of(entry, cluster);
  if (slice_offsets_.empty() || slice_offsets_[location.slot] != location.offset) return {};
  const ConstBytes slice = slices_.bytes(location.slot * slice_size_, slice_size_);
  return {true, layout::load_refcount(slice, location.index, geometry_.refcount_order())};
}

Task<std::optional<uint64_t>> StoredRefcounts::read(uint64_t cluster) {
  const Lookup found = find(cluster);
  if (found.is_known) co_return found.refcount;
  if (slice_offsets_.empty()) {
    slices_ = Buffer(kSlices * slice_size_);
    slice_offsets_.assign(kSlices, kNoSlice);
  }
  const RefcountTableEntry entry = this->entry(cluster / geometry_.refcount_block_entries());
  const Location location = location_of(entry, cluster);
  slice_offsets_[location.slot] = kNoSlice;
  const Bytes slice = slices_.bytes(location.slot * slice_size_, slice_size_);
  bool is_read = true;
  try {
    co_await read_zero_padded(&file_->device(), location.offset, ReadBuffers(slice));
  } catch (const Error&) {
    is_read = false;
  }
  if (!is_read) co_return std::nullopt;
  slice_offsets_[location.slot] = location.offset;
  co_return layout::load_refcount(slice, location.index, geometry_.refcount_order());
}

}  // namespace byre::qcow2
