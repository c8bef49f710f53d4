// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repairer_structure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>

#include "block/buffer.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/layout/snapshot.h"

namespace byre::qcow2 {

using layout::HostOffset;
using layout::RawHeader;

StructureBuilder::StructureBuilder(CheckPass* pass, bool keep_leaks)
    : pass_(pass),
      geometry_(pass->geometry()),
      keep_leaks_(keep_leaks),
      header_(pass->subject().header),
      next_cluster_(pass->file().device().limits().grows
                        ? pass->counts().cluster_count()
                        : geometry_.clusters_for(pass->result().image_end_offset)) {}

// From next_cluster_ on, but not where a reference leads that goes beyond the end of the file.
uint64_t StructureBuilder::next_free(uint64_t clusters) const {
  uint64_t first = next_cluster_;
  for (;;) {
    const uint64_t end = pass_->references().outside().last_end_before((first + clusters)
                                                                       << geometry_.cluster_bits());
    if (end <= first << geometry_.cluster_bits()) return first;
    first = geometry_.clusters_for(end);
  }
}

// The first of so many free clusters.
uint64_t StructureBuilder::take(uint64_t clusters) {
  const uint64_t first = next_free(clusters);
  const uint64_t end = first + clusters;
  const uint64_t end_max = layout::limits::kHostOffsetEnd >> geometry_.cluster_bits();
  const bool fits = file().limits().grows || end << geometry_.cluster_bits() <= file().size();
  if (end > end_max || !fits) {
    const int number = end > end_max ? EFBIG : ENOSPC;
    throw Error(ErrorKind::kNoSpace, number, errno_text(number),
                fmt::format("'{}' has no room for {} new clusters", file().filename(), clusters));
  }
  next_cluster_ = end;
  return first;
}

bool StructureBuilder::must_move_l1() const {
  const uint64_t start = header_.l1_table_offset.value();
  const uint64_t size = uint64_t{header_.l1_size} * 8;
  if (pass_->references().is_outside(start, size)) return true;
  if (pass_->references().has_overlapping_l2_table()) return true;
  for (uint64_t at = 0; at < size; at += geometry_.cluster_size()) {
    const uint64_t cluster = (start + at) >> geometry_.cluster_bits();
    if (pass_->references().is_referred_to_twice(cluster)) return true;
  }
  return false;
}

Task<void> StructureBuilder::write_snapshot_table() {
  std::vector<uint8_t> table = layout::encode_snapshot_table(pass_->metadata().snapshots());
  const uint64_t clusters = geometry_.clusters_for(table.size());
  table.resize(clusters << geometry_.cluster_bits());
  const uint64_t offset = take(clusters) << geometry_.cluster_bits();
  const IoVector from((Bytes(table)));
  co_await file().write(offset, from, WriteFlags::kNone);
  header_.snapshots_offset = HostOffset(offset);
}

Task<void> StructureBuilder::move_l1_table() {
  const uint64_t size = uint64_t{header_.l1_size} * 8;
  const uint64_t clusters = geometry_.clusters_for(size);
  const uint64_t offset = take(clusters) << geometry_.cluster_bits();
  CheckerFile source(&file());
  Buffer piece(geometry_.cluster_size());
  for (uint64_t at = 0; at < size; at += piece.size()) {
    const uint64_t length = std::min(piece.size(), size - at);
    const ConstBytes bytes =
        co_await source.read(header_.l1_table_offset.value() + at, length, CheckerFile::kReadMax);
    std::ranges::fill(piece.bytes(), uint8_t{0});
    std::ranges::copy(bytes, piece.data());
    co_await move_l2_tables(piece.bytes());
    const IoVector from(piece.bytes());
    co_await file().write(offset + at, from, WriteFlags::kNone);
  }
  header_.l1_table_offset = HostOffset(offset);
}

// Those that are something else, too.
Task<void> StructureBuilder::move_l2_tables(Bytes l1_piece) {
  const ReferenceCounter& references = pass_->references();
  CheckerFile source(&file());
  for (uint64_t at = 0; at < l1_piece.size(); at += 8) {
    const layout::L1Entry entry(load_big_endian<uint64_t>(&l1_piece[at]));
    const uint64_t old_offset = entry.offset().value();
    if (entry.kind(geometry_) != layout::L1Kind::kTable) continue;
    if (references.is_outside(old_offset, geometry_.cluster_size())) continue;
    if (references.is_only_l2_table(old_offset)) continue;
    uint64_t& offset = moved_l2_[old_offset];
    if (offset == 0) {
      if (pass_->options().cancellation != nullptr) pass_->options().cancellation->check();
      offset = take(1) << geometry_.cluster_bits();
      Buffer table(geometry_.cluster_size());
      const ConstBytes bytes = co_await source.read(old_offset, table.size(), 0);
      std::ranges::copy(bytes, table.data());
      const IoVector from(table.bytes());
      co_await file().write(offset, from, WriteFlags::kNone);
    }
    const layout::L1Entry moved = layout::L1Entry::table(HostOffset(offset), entry.copied());
    store_big_endian<uint64_t>(&l1_piece[at], moved.word());
  }
}

// Of clusters to which no reference was found.
Task<void> StructureBuilder::add_old_refcounts(CheckPass* counted) {
  ReferenceCounts& counts = counted->counts();
  CheckerFile blocks(&file());
  const uint64_t block_entries = geometry_.refcount_block_entries();
  const uint64_t clusters = std::min(counts.cluster_count(), pass_->counts().cluster_count());
  for (uint64_t first = 0; first < clusters; first += block_entries) {
    const layout::RefcountTableEntry entry = pass_->refcounts().entry(first / block_entries);
    if (entry.kind(geometry_) != layout::RefcountTableKind::kBlock) continue;
    const ConstBytes block =
        co_await blocks.read(entry.offset().value(), geometry_.cluster_size(), 0);
    for (uint64_t i = 0; i < std::min(block_entries, clusters - first); ++i) {
      const bool is_used = layout::load_refcount(block, i, geometry_.refcount_order()) != 0;
      if (is_used && counts.count(first + i) == 0) {
        counts.add(first + i, 1, ReferenceCounts::Claim::kNone);
      }
    }
  }
}

Task<void> StructureBuilder::write_refcounts(CheckPass* counted) {
  ReferenceCounts& counts = counted->counts();
  // The place depends on the size, the size on the place: it grows only.
  RefcountPlan plan = plan_refcounts(counts, geometry_, next_cluster_);
  for (;;) {
    const uint64_t first = next_free(plan.cluster_count());
    if (first == plan.first) break;
    plan = plan_refcounts(counts, geometry_, first);
  }
  next_cluster_ = plan.first;
  take(plan.cluster_count());
  if (counts.cluster_count() < next_cluster_) counts.grow(next_cluster_);
  for (uint64_t i = 0; i < plan.cluster_count(); ++i) {
    counts.add(plan.first + i, 1, ReferenceCounts::Claim::kNone);
  }
  Buffer table(plan.table_clusters << geometry_.cluster_bits());
  std::ranges::fill(table.bytes(), uint8_t{0});
  Buffer block(geometry_.cluster_size());
  for (size_t i = 0; i < plan.blocks.size(); ++i) {
    if (pass_->options().cancellation != nullptr) pass_->options().cancellation->check();
    const uint64_t offset = plan.block_cluster(i) << geometry_.cluster_bits();
    fill_refcount_block(counts, geometry_, plan.blocks[i], block.bytes());
    const IoVector from(block.bytes());
    co_await file().write(offset, from, WriteFlags::kNone);
    const uint64_t word = layout::RefcountTableEntry::block(HostOffset(offset)).word();
    store_big_endian<uint64_t>(table.data() + plan.blocks[i] * 8, word);
  }
  const IoVector from(table.bytes());
  co_await file().write(plan.first << geometry_.cluster_bits(), from, WriteFlags::kNone);
  header_.refcount_table_offset = HostOffset(plan.first << geometry_.cluster_bits());
  header_.refcount_table_clusters = static_cast<uint32_t>(plan.table_clusters);
}

Task<void> StructureBuilder::write_header() {
  constexpr size_t kStart = offsetof(RawHeader, l1_size);
  constexpr size_t kEnd = offsetof(RawHeader, incompatible_features);
  static_assert(kEnd <= layout::limits::kHeaderSizeV2 && kEnd - kStart == 36);
  const std::vector<uint8_t> bytes = header_.encode();
  const ConstBytes fields = ConstBytes(bytes).subspan(kStart, kEnd - kStart);
  co_await file().flush();
  const IoVector from(fields);
  co_await file().write(kStart, from, WriteFlags::kNone);
  co_await file().flush();
}

void StructureBuilder::note_old_structure() {
  const auto note = [this](uint64_t cluster) {
    if (!pass_->references().is_referred_to_twice(cluster)) given_back_.add(cluster, cluster + 1);
  };
  const layout::Header& old = pass_->subject().header;
  const uint64_t table = geometry_.cluster_of(old.refcount_table_offset).value();
  for (uint64_t i = 0; i < old.refcount_table_clusters; ++i) note(table + i);
  for (uint64_t i = 0; i < pass_->refcounts().table_entries(); ++i) {
    const layout::RefcountTableEntry entry = pass_->refcounts().entry(i);
    if (entry.kind(geometry_) != layout::RefcountTableKind::kBlock) continue;
    note(geometry_.cluster_of(entry.offset()).value());
  }
}

Task<layout::Header> StructureBuilder::build() {
  const bool new_snapshots = pass_->metadata().has_mended_snapshots();
  const bool new_l1 = must_move_l1();
  if (new_snapshots) co_await write_snapshot_table();
  if (new_l1) co_await move_l1_table();
  std::optional<CheckPass> again;
  CheckOptions silent;
  silent.findings_max = 0;
  silent.cancellation = pass_->options().cancellation;
  CheckPass* counted = pass_;
  if (new_snapshots || new_l1) {
    again.emplace(CheckSubject{&file(), header_, pass_->subject().extensions}, &silent);
    co_await again->count();
    counted = &*again;
    if (file().limits().grows) {
      next_cluster_ = std::max(next_cluster_, counted->counts().cluster_count());
    }
  }
  if (keep_leaks_) co_await add_old_refcounts(counted);
  note_old_structure();
  co_await write_refcounts(counted);
  co_await write_header();
  co_return header_;
}

}  // namespace byre::qcow2
