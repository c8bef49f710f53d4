// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/l2_entries.h"

#include <algorithm>

namespace byre::qcow2 {

using layout::L2Entry;
using layout::L2Stretch;

bool refers_to_cluster(const L2Entry& entry, const layout::Geometry& geometry) {
  if (!entry.offset().is_zero()) return true;
  const bool is_zero = !geometry.extended_l2() && (entry.word() & L2Entry::kZero) != 0;
  return geometry.external_data_file() && entry.copied() && !is_zero;
}

L2EntryCounter::L2EntryCounter(ReferenceCounter* references, bool active)
    : references_(references),
      geometry_(references->geometry()),
      active_(active),
      plain_end_(geometry_.external_data_file() ? 0 : references->whole_clusters_end()) {}

ReferenceCounts::Claim L2EntryCounter::claim_of(const L2Entry& entry) const {
  if (!active_) return Claim::kNone;
  return entry.copied() ? Claim::kCopied : Claim::kNotCopied;
}

void L2EntryCounter::count(ConstBytes table) {
  const uint32_t entries = geometry_.l2_entries();
  for (uint32_t i = 0; i < entries;) {
    const L2Stretch stretch = layout::l2_stretch_at(table, i, entries, geometry_);
    for (uint32_t done = 0; done < stretch.count;) {
      const L2Stretch rest{stretch.entry(done), stretch.step, stretch.count - done};
      const uint32_t plain = count_plain(rest);
      if (plain == 0) count_entry(rest.first, i + done);
      done += std::max(plain, 1u);
    }
    i += stretch.count;
  }
}

// Counts the entries that nearly all are: empty ones, or clusters in the file without any fault.
// Returns how many entries of the stretch were counted, from its first one on.
uint32_t L2EntryCounter::count_plain(const L2Stretch& stretch) {
  const L2Entry& first = stretch.first;
  if ((first.word() | first.bitmap()) == 0 && stretch.step == 0) return stretch.count;
  constexpr uint64_t kPlain = L2Entry::kOffsetMask | L2Entry::kCopied | L2Entry::kZero;
  const uint64_t offset = first.offset().value();
  if ((first.word() & ~kPlain) != 0 || offset == 0 || offset >= plain_end_) return 0;
  if (!geometry_.is_cluster_aligned(first.offset())) return 0;
  if ((first.bitmap() & (first.bitmap() >> 32)) != 0) return 0;
  if (stretch.count > 1 && stretch.step == 0) return 0;  // the same cluster repeatedly
  const uint64_t clusters =
      std::min<uint64_t>(stretch.count, geometry_.clusters_for(plain_end_ - offset));
  const uint64_t counted = references_->counts().add_fast(
      geometry_.cluster_of(first.offset()).value(), clusters, claim_of(first));
  if (counted > 0) note_places(offset, counted);
  return static_cast<uint32_t>(counted);
}

// Notes a run of consecutive clusters.
void L2EntryCounter::note_places(uint64_t offset, uint64_t clusters) {
  statistics_.allocated += clusters;
  if (contiguous_offset_ != 0 && offset != contiguous_offset_) ++statistics_.fragmented;
  contiguous_offset_ = offset + (clusters << geometry_.cluster_bits());
}

void L2EntryCounter::count_entry(const L2Entry& entry, uint32_t index) {
  if (can_repair_ && references_->entry_repair().repaired(entry)) references_->set_repairable();
  if (entry.is_compressed()) {
    count_compressed(entry, index);
    return;
  }
  Findings& findings = references_->findings();
  if ((entry.word() & L2Entry::kReservedMask) != 0) {
    references_->set_suspect();
    findings.add({.kind = FindingKind::kL2ReservedBits, .value = entry.word()});
  }
  if (refers_to_cluster(entry, geometry_)) {
    count_allocated(entry);
  } else if ((entry.bitmap() & L2Entry::kAllAllocated) != 0) {
    references_->set_suspect();
    references_->set_incomplete();
    findings.add({.kind = FindingKind::kSubclustersUnallocated, .value = entry.bitmap()});
  }
}

void L2EntryCounter::count_compressed(L2Entry entry, uint32_t index) {
  Findings& findings = references_->findings();
  if (entry.copied()) {
    const uint64_t offset = entry.word() & geometry_.compressed_offset_mask();
    findings.add({.kind = FindingKind::kCompressedCopied, .offset = offset, .value = entry.word()});
    entry = entry.with_copied(false);
  }
  if (geometry_.external_data_file()) {
    references_->set_incomplete();
    findings.add(
        {.kind = FindingKind::kCompressedInDataFile, .index = index, .value = entry.word()});
    return;
  }
  if (entry.bitmap() != 0) {
    references_->set_incomplete();
    findings.add(
        {.kind = FindingKind::kCompressedSubclusters, .index = index, .value = entry.word()});
    return;
  }
  const layout::CompressedRange range = entry.compressed_range(geometry_);
  if (references_->is_outside(range.offset.value(), range.size)) references_->set_incomplete();
  references_->count_region(range.offset.value(), range.size, Claim::kNone);
  ++statistics_.allocated;
  ++statistics_.fragmented;
  ++statistics_.compressed;
}

void L2EntryCounter::count_allocated(const L2Entry& entry) {
  Findings& findings = references_->findings();
  const uint64_t offset = entry.offset().value();
  if ((entry.bitmap() & (entry.bitmap() >> 32)) != 0) {
    references_->set_suspect();
    findings.add({.kind = FindingKind::kSubclusterContradiction, .offset = offset});
  }
  if (!geometry_.is_cluster_aligned(entry.offset())) {
    references_->set_suspect();
    const bool has_data = geometry_.extended_l2() ? (entry.bitmap() & L2Entry::kAllAllocated) != 0
                                                  : (entry.word() & L2Entry::kZero) == 0;
    if (has_data) references_->set_incomplete();
    const bool repairs = can_repair_ && references_->repairs() &&
                         references_->entry_repair().repaired(entry).has_value();
    findings.add(
        {.kind = has_data ? FindingKind::kClusterUnaligned : FindingKind::kZeroClusterUnaligned,
         .offset = offset,
         .is_repaired = repairs});
    if (repairs) return;
  }
  note_places(offset, 1);
  if (!geometry_.external_data_file()) {
    references_->count_region(offset, geometry_.cluster_size(), claim_of(entry));
  } else if (active_ && !entry.copied()) {
    references_->set_suspect();  // guest clusters in a data file count as referred to once
  }
}

void L2EntryCounter::count_owed(ConstBytes table, uint64_t times) {
  if (geometry_.external_data_file()) return;
  for (uint32_t i = 0; i < geometry_.l2_entries(); ++i) {
    const L2Entry entry = L2Entry::load(table, i, geometry_);
    uint64_t offset = entry.offset().value();
    uint64_t size = geometry_.cluster_size();
    if (entry.is_compressed()) {
      if (entry.bitmap() != 0) continue;
      const layout::CompressedRange range = entry.compressed_range(geometry_);
      offset = range.offset.value();
      size = range.size;
    } else if (!refers_to_cluster(entry, geometry_)) {
      continue;
    }
    if (references_->is_outside(offset, size)) {
      references_->count_outside(offset, size, times);
    } else {
      references_->add_references(offset, size, times, Claim::kNone);
    }
  }
}

}  // namespace byre::qcow2
