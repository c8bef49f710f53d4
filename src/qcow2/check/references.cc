// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/references.h"

#include <algorithm>

#include "base/checked.h"
#include "qcow2/check/l2_entries.h"
#include "qcow2/layout/l1_entry.h"

namespace byre::qcow2 {

ReferenceCounter::ReferenceCounter(const layout::Header& header, CheckerFile* file,
                                   ReferenceCounts* counts, Findings* findings,
                                   const CheckOptions* options)
    : geometry_(header),
      entry_repair_(header, file->size(), options->repairs && options->drops_unreadable),
      file_(file),
      l2_file_(&file->device()),
      counts_(counts),
      findings_(findings),
      options_(options),
      narrow_refcounts_(geometry_.refcount_bits() <= 8) {}

bool ReferenceCounter::is_outside(uint64_t offset, uint64_t size) const {
  return EntryRepair::is_outside(offset, size, file_->size(), geometry_.cluster_size());
}

void ReferenceCounter::count_region(uint64_t offset, uint64_t size, Claim claim) {
  if (size == 0) return;
  if (!is_outside(offset, size)) {
    add_references(offset, size, 1, claim);
    return;
  }
  expects_more_ = true;
  count_outside(offset, size, 1);
  report_outside(offset, size);
}

void ReferenceCounter::report_outside(uint64_t offset, uint64_t size) {
  suspect_ = true;
  note_outside(offset, size);
  findings_->add({.kind = FindingKind::kReferenceOutsideFile, .offset = offset, .value = size});
}

void ReferenceCounter::note_outside(uint64_t offset, uint64_t size) {
  if (outside_.range_count() >= kRangesMax) return;
  const uint64_t start = align_down(offset, geometry_.cluster_size());
  if (range_fits(offset, size, INT64_MAX)) outside_.add(start, offset + size);
}

void ReferenceCounter::note_table(uint64_t offset, uint64_t size) {
  if (range_fits(offset, size, file_->size())) return;
  incomplete_ = true;
  expects_more_ = true;
}

// Does not count the clusters inside the file with which such a region begins, as in QEMU.
void ReferenceCounter::count_outside(uint64_t offset, uint64_t size, uint64_t times) {
  note_outside(offset, size);
  if (!range_fits(offset, size, INT64_MAX)) return;
  const uint64_t file_end = geometry_.clusters_for(file_->size());
  const uint64_t end = geometry_.clusters_for(offset + size);
  for (uint64_t cluster = std::max(offset >> geometry_.cluster_bits(), file_end);
       cluster < end && outside_counts_.size() < kRangesMax; ++cluster) {
    outside_counts_[cluster] += times;
  }
}

void ReferenceCounter::add_references(uint64_t offset, uint64_t size, uint64_t times, Claim claim) {
  if (size == 0) return;
  const uint64_t last = (offset + size - 1) >> geometry_.cluster_bits();
  for (uint64_t cluster = offset >> geometry_.cluster_bits(); cluster <= last; ++cluster) {
    if (cluster >= counts_->cluster_count()) counts_->grow(cluster + 1);
    const uint64_t overflow = counts_->add(cluster, times, claim);
    if (overflow == 0) continue;
    suspect_ = true;
    if (overflowed_.range_count() < kRangesMax) overflowed_.add(cluster, cluster + 1);
    const uint64_t place = cluster << geometry_.cluster_bits();
    findings_->add({.kind = FindingKind::kRefcountOverflow, .offset = place});
    findings_->count(Severity::kCorruption, overflow - 1);
  }
}

bool ReferenceCounter::is_only_l2_table(uint64_t offset) const {
  const auto found = l2_references_.find(offset);
  const uint64_t cluster = offset >> geometry_.cluster_bits();
  return found != l2_references_.end() && counts_->count(cluster) == found->second.count &&
         !overflowed_.contains(cluster) && geometry_.is_cluster_aligned(layout::HostOffset(offset));
}

bool ReferenceCounter::is_referred_to_once(uint64_t offset, uint64_t length) const {
  const uint64_t end = geometry_.clusters_for(offset + length);
  for (uint64_t cluster = offset >> geometry_.cluster_bits(); cluster < end; ++cluster) {
    if (counts_->count(cluster) != 1 || overflowed_.contains(cluster)) return false;
  }
  return true;
}

bool ReferenceCounter::has_overlapping_l2_table() const {
  for (const auto& [offset, references] : l2_references_) {
    if (!references.is_active || !geometry_.is_cluster_aligned(layout::HostOffset(offset)))
      continue;
    if (!is_outside(offset, geometry_.cluster_size()) && !is_only_l2_table(offset)) return true;
  }
  return false;
}

// Counts saturate at the largest refcount.
bool ReferenceCounter::is_shared(uint64_t offset) const {
  const uint64_t shared_min = std::min<uint64_t>(2, geometry_.refcount_max());
  return counts_->count(offset >> geometry_.cluster_bits()) >= shared_min;
}

Task<void> ReferenceCounter::count_l1_table(uint64_t offset, uint64_t entries, bool active) {
  if (entries == 0) co_return;
  const uint64_t size = entries * 8;
  note_table(offset, size);
  if (active || is_outside(offset, size)) {
    count_region(offset, size);
  } else {
    count_l1_places(offset, size);
  }
  const uint64_t end = offset + file_->stored(offset, size);
  const uint64_t cluster_size = geometry_.cluster_size();
  if (!range_fits(offset, size, INT64_MAX)) co_await read_l1(offset, size, 0);  // throws
  for (uint64_t place = offset; place < end;) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const uint64_t known_end = active ? place : std::min(end, known_l1_.end_of(place));
    if (known_end > place) {
      owed_l1_.add(place, known_end);
      place = known_end;
      continue;
    }
    const uint64_t length = std::min(cluster_size, end - place);
    const bool is_hole = co_await file_->is_hole(place, length);
    const uint64_t corruptions = findings_->corruptions();
    if (!is_hole) co_await count_l1_cluster(place, length, end - place - length, active);
    if (is_hole && length == cluster_size) {
      known_l1_.add(place, place + cluster_size);
    } else if (!active) {
      note_l1_cluster(place, findings_->corruptions() == corruptions && length == cluster_size);
    }
    place += length;
  }
}

// Counts one reference to each cluster of a table inside the file.
void ReferenceCounter::count_l1_places(uint64_t offset, uint64_t size) {
  const uint64_t end = offset + align_up(size, geometry_.cluster_size());
  for (uint64_t place = offset; place < end;) {
    const uint64_t known_end = std::min(end, known_l1_.end_of(place));
    if (known_end > place) {
      owed_l1_places_.add(place, known_end);
      place = known_end;
    } else {
      add_references(place, 1, 1, Claim::kNone);
      place += geometry_.cluster_size();
    }
  }
}

// Notes that a cluster of a snapshot's L1 table has been followed. `clean`: all of the cluster,
// without findings.
void ReferenceCounter::note_l1_cluster(uint64_t place, bool clean) {
  const bool has_words = !clean || narrow_refcounts_;
  const uint64_t reads_max = has_words && findings_->is_wanted() ? SharedTable::kReadsMax : 1;
  if (++l1_reads_[place] <= reads_max) return;
  known_l1_.add(place, place + geometry_.cluster_size());
  l1_reads_.erase(place);
}

Task<ConstBytes> ReferenceCounter::read_l1(uint64_t offset, uint64_t length, uint64_t ahead) {
  try {
    co_return co_await file_->read(offset, length, ahead);
  } catch (const Error& error) {
    report_unreadable(FindingKind::kL1TableUnreadable);
    throw;
  }
}

void ReferenceCounter::report_unreadable(FindingKind kind) {
  findings_->add({.kind = kind, .severity = Severity::kCheckError});
}

namespace {

// The size of the L2 tables, of the entries after `index`, that directly follow the one of `index`.
uint64_t adjacent_tables_size(ConstBytes l1, uint64_t index, uint64_t table_size) {
  const auto offset_at = [&](uint64_t i) {
    return layout::L1Entry(load_big_endian<uint64_t>(&l1[i * 8])).offset().value();
  };
  uint64_t size = 0;
  const uint64_t start = offset_at(index) + table_size;
  for (uint64_t i = index + 1; (i + 1) * 8 <= l1.size() && size < CheckerFile::kReadMax; ++i) {
    if (offset_at(i) != start + size) break;
    size += table_size;
  }
  return size;
}

}  // namespace

Task<void> ReferenceCounter::count_l1_cluster(uint64_t offset, uint64_t length, uint64_t ahead,
                                              bool active) {
  const ConstBytes table = co_await read_l1(offset, length, ahead);
  for (uint64_t i = 0; (i + 1) * 8 <= table.size(); ++i) {
    const layout::L1Entry entry(load_big_endian<uint64_t>(&table[i * 8]));
    if (entry.word() == 0) continue;
    if (entry.reserved_bits() != 0) {
      suspect_ = true;
      findings_->add({.kind = FindingKind::kL1ReservedBits, .value = entry.word()});
    }
    const uint64_t l2_offset = entry.offset().value();
    const Claim claim = !active          ? Claim::kNone
                        : entry.copied() ? Claim::kCopied
                                         : Claim::kNotCopied;
    count_region(l2_offset, geometry_.cluster_size(), claim);
    note_table(l2_offset, geometry_.cluster_size());
    L2References& l2_references = l2_references_[l2_offset];
    ++l2_references.count;
    l2_references.is_active |= active;
    if (entry_repair_.repaired(entry)) set_repairable();
    if (!geometry_.is_cluster_aligned(entry.offset())) {
      suspect_ = true;
      incomplete_ = true;
      findings_->add({.kind = FindingKind::kL2TableUnaligned, .offset = l2_offset});
    }
    const bool is_kept = l2_file_.kept(l2_offset, geometry_.cluster_size()).has_value();
    const uint64_t l2_ahead =
        is_kept ? 0 : adjacent_tables_size(table, i, geometry_.cluster_size());
    co_await count_l2_table(l2_offset, l2_ahead, active);
  }
}

Task<void> ReferenceCounter::count_l2_table(uint64_t offset, uint64_t ahead, bool active) {
  const bool is_hole = co_await l2_file_.is_hole(offset, geometry_.cluster_size());
  if (is_hole) co_return;
  SharedTable* shared = nullptr;
  if (is_shared(offset)) {
    shared = &shared_l2_[offset];
    if (shared->is_known(narrow_refcounts_)) {
      ++shared->owed;
      findings_->count(Severity::kCorruption, shared->corruptions);
      if (active) statistics_.add(shared->statistics);
      co_return;
    }
  }
  if (options_->cancellation != nullptr) options_->cancellation->check();
  const ConstBytes table = co_await read_l2(offset, ahead);
  const uint64_t corruptions = findings_->corruptions();
  L2EntryCounter entries(this, active);
  if (!geometry_.is_cluster_aligned(layout::HostOffset(offset))) entries.leave_as_they_are();
  entries.count(table);
  if (active) statistics_.add(entries.statistics());
  if (shared == nullptr) co_return;
  ++shared->reads;
  shared->corruptions = findings_->corruptions() - corruptions;
  shared->statistics = entries.statistics();
}

Task<ConstBytes> ReferenceCounter::read_l2(uint64_t offset, uint64_t ahead) {
  try {
    co_return co_await l2_file_.read(offset, geometry_.cluster_size(), ahead);
  } catch (const Error& error) {
    report_unreadable(FindingKind::kL2TableUnreadable);
    throw;
  }
}

Task<void> ReferenceCounter::count_owed() {
  for (const OverlappingRanges::Range& range : owed_l1_places_.ranges()) {
    add_references(range.start, range.end - range.start, range.times, Claim::kNone);
  }
  const std::vector<OverlappingRanges::Range> tables = owed_l1_.ranges();
  for (const OverlappingRanges::Range& range : tables) co_await count_l1_owed(range);
  if (narrow_refcounts_) co_return;  // after kReadsMax reads all counts are saturated
  for (const auto& [offset, shared] : shared_l2_) {
    if (shared.owed == 0) continue;
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const ConstBytes table = co_await read_l2(offset, 0);
    L2EntryCounter entries(this, false);
    entries.count_owed(table, shared.owed);
  }
}

Task<void> ReferenceCounter::count_l1_owed(OverlappingRanges::Range range) {
  const uint64_t cluster_size = geometry_.cluster_size();
  for (uint64_t place = range.start; place < range.end;) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const uint64_t cluster_end = align_down(place, cluster_size) + cluster_size;
    const uint64_t length = std::min(cluster_end, range.end) - place;
    const bool is_hole = co_await file_->is_hole(place, length);
    if (!is_hole) co_await count_l1_part_owed(place, length, range);
    place += length;
  }
}

// Counts what count_l1_cluster() counts, several times; the findings have been reported often
// enough.
Task<void> ReferenceCounter::count_l1_part_owed(uint64_t offset, uint64_t length,
                                                OverlappingRanges::Range range) {
  const uint64_t times = range.times;
  const uint64_t cluster_size = geometry_.cluster_size();
  const ConstBytes table = co_await read_l1(offset, length, range.end - offset - length);
  for (uint64_t i = 0; (i + 1) * 8 <= table.size(); ++i) {
    const layout::L1Entry entry(load_big_endian<uint64_t>(&table[i * 8]));
    if (entry.word() == 0) continue;
    const uint64_t l2_offset = entry.offset().value();
    const bool outside = is_outside(l2_offset, cluster_size);
    const uint64_t faults = (entry.reserved_bits() != 0) + uint64_t{outside} +
                            !geometry_.is_cluster_aligned(entry.offset());
    if (faults > 0) suspect_ = true;
    findings_->count(Severity::kCorruption, faults * times);
    if (outside) {  // so its contents are not there
      incomplete_ = true;
      expects_more_ = true;
      count_outside(l2_offset, cluster_size, times);
      continue;
    }
    add_references(l2_offset, cluster_size, times, Claim::kNone);
    l2_references_[l2_offset].count += times;
    co_await count_l2_table_times(l2_offset, times);
  }
}

Task<void> ReferenceCounter::count_l2_table_times(uint64_t offset, uint64_t times) {
  const bool is_hole = co_await l2_file_.is_hole(offset, geometry_.cluster_size());
  if (is_hole) co_return;
  for (uint64_t left = times; left > 0; --left) {
    const auto found = shared_l2_.find(offset);
    if (found != shared_l2_.end() && found->second.is_known(narrow_refcounts_)) {
      found->second.owed += left;
      findings_->count(Severity::kCorruption, found->second.corruptions * left);
      co_return;
    }
    co_await count_l2_table(offset, 0, false);
  }
}

}  // namespace byre::qcow2
