// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/structure.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "block/buffer.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/repair/header_write.h"

namespace byre::qcow2 {

using layout::HostOffset;
using layout::RawHeader;

namespace {

// A checker's limit; no page of counts is created past it.
constexpr uint64_t kClustersMax = INT32_MAX;

}  // namespace

StructureBuilder::StructureBuilder(CheckPass* pass, bool keep_leaks, NewPlaces::Where where)
    : pass_(pass),
      geometry_(pass->geometry()),
      keep_leaks_(keep_leaks),
      header_(pass->subject().header),
      places_(pass, where),
      extension_(pass->subject().extensions.bitmaps) {}

bool StructureBuilder::must_move_l1(CheckPass& pass) {
  const layout::Header& header = pass.subject().header;
  const uint64_t start = header.l1_table_offset.value();
  const uint64_t size = uint64_t{header.l1_size} * 8;
  const ReferenceCounter& references = pass.references();
  if (references.is_outside(start, size)) return pass.options().drops_unreadable;
  if (references.has_overlapping_l2_table()) return true;
  for (uint64_t at = 0; at < size; at += pass.geometry().cluster_size()) {
    const uint64_t cluster = (start + at) >> pass.geometry().cluster_bits();
    if (references.is_referred_to_twice(cluster)) return true;
  }
  return false;
}

// Writes whole clusters; returns their offset.
Task<uint64_t> StructureBuilder::write_table(std::vector<uint8_t> table) {
  const uint64_t clusters = geometry_.clusters_for(table.size());
  table.resize(clusters << geometry_.cluster_bits());
  const uint64_t offset = take(clusters);
  const WriteBuffers from((Bytes(table)));
  co_await file().write(offset, from, WriteFlags::kNone);
  co_return offset;
}

Task<void> StructureBuilder::write_snapshot_table() {
  const std::vector<layout::Snapshot>& snapshots = pass_->metadata().snapshots();
  uint64_t offset = 0;
  if (!snapshots.empty()) {
    std::vector<uint8_t> table = layout::encode_snapshot_table(snapshots);
    offset = co_await write_table(std::move(table));
  }
  header_.snapshots_offset = HostOffset(offset);
  header_.snapshot_count = static_cast<uint32_t>(snapshots.size());
}

Task<void> StructureBuilder::write_bitmap_directory() {
  std::vector<uint8_t> directory = layout::encode_bitmap_directory(*bitmaps_);
  extension_->bitmap_count = static_cast<uint32_t>(bitmaps_->size());
  extension_->directory_size = directory.size();
  const uint64_t offset = co_await write_table(std::move(directory));
  extension_->directory_offset = HostOffset(offset);
}

Task<void> StructureBuilder::move_l1_table() {
  const uint64_t size = uint64_t{header_.l1_size} * 8;
  const uint64_t clusters = geometry_.clusters_for(size);
  const uint64_t offset = take(clusters);
  CheckerFile source(&file());
  Buffer piece(geometry_.cluster_size());
  for (uint64_t at = 0; at < size; at += piece.size()) {
    const uint64_t length = std::min(piece.size(), size - at);
    const ConstBytes bytes =
        co_await source.read(header_.l1_table_offset.value() + at, length, CheckerFile::kReadMax);
    std::ranges::fill(piece.bytes(), uint8_t{0});
    std::ranges::copy(bytes, piece.data());
    co_await move_l2_tables(piece.bytes());
    const WriteBuffers from(piece.bytes());
    co_await file().write(offset + at, from, WriteFlags::kNone);
  }
  header_.l1_table_offset = HostOffset(offset);
}

// Moves those that are also something else.
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
      offset = take(1);
      Buffer table(geometry_.cluster_size());
      const ConstBytes bytes = co_await source.read(old_offset, table.size(), 0);
      std::ranges::copy(bytes, table.data());
      const WriteBuffers from(table.bytes());
      co_await file().write(offset, from, WriteFlags::kNone);
    }
    const layout::L1Entry moved = layout::L1Entry::table(HostOffset(offset), entry.copied());
    store_big_endian<uint64_t>(&l1_piece[at], moved.word());
  }
}

// Keeps refcounts that are higher than the number of references found. For parts whose old
// refcounts are unreliable, every cluster of the file counts as in use.
Task<void> StructureBuilder::add_old_refcounts(ReferenceCounts* counts) {
  CheckerFile blocks(&file());
  const uint64_t block_entries = geometry_.refcount_block_entries();
  const uint64_t file_clusters = pass_->counts().cluster_count();
  const uint64_t table_end =
      std::max(pass_->refcounts().table_entries(), div_ceil(file_clusters, block_entries));
  const auto raise = [counts](uint64_t cluster, uint64_t refcount) {
    if (cluster >= counts->cluster_count()) counts->grow(cluster + 1);
    const uint64_t count = counts->count(cluster);
    if (count < refcount) counts->add(cluster, refcount - count, ReferenceCounts::Claim::kNone);
  };
  for (uint64_t index = 0; index < table_end; ++index) {
    const uint64_t first = index * block_entries;
    const uint64_t in_file = std::min(file_clusters, first + block_entries);
    if (pass_->refcounts().is_unreliable(index) && first < file_clusters) {
      const bool is_hole = co_await blocks.is_hole(first << geometry_.cluster_bits(),
                                                   (in_file - first) << geometry_.cluster_bits());
      if (is_hole) continue;
      for (uint64_t cluster = first; cluster < in_file; ++cluster) raise(cluster, 1);
    }
    const layout::RefcountTableEntry entry = pass_->refcounts().entry(index);
    if (entry.kind(geometry_) != layout::RefcountTableKind::kBlock) continue;
    if (first + block_entries > kClustersMax) break;
    const bool is_hole = co_await blocks.is_hole(entry.offset().value(), geometry_.cluster_size());
    if (is_hole) continue;
    const ConstBytes block =
        co_await blocks.read(entry.offset().value(), geometry_.cluster_size(), 0);
    for (uint64_t i = 0; i < block_entries; ++i) {
      const uint64_t refcount = layout::load_refcount(block, i, geometry_.refcount_order());
      if (refcount != 0) raise(first + i, refcount);
    }
  }
}

// The old directory is in use until the extension is switched.
void StructureBuilder::add_old_directory(ReferenceCounts* counts) {
  const std::optional<layout::BitmapsExtension>& old = pass_->subject().extensions.bitmaps;
  if (pass_->references().is_outside(old->directory_offset.value(), old->directory_size)) return;
  const uint64_t first = geometry_.cluster_of(old->directory_offset).value();
  const uint64_t end = first + geometry_.clusters_for(old->directory_size);
  for (uint64_t cluster = first; cluster < std::min(end, counts->cluster_count()); ++cluster) {
    if (counts->count(cluster) == 0) counts->add(cluster, 1, ReferenceCounts::Claim::kNone);
    if (!pass_->references().is_referred_to_twice(cluster)) given_back_.add(cluster, cluster + 1);
  }
}

// Counts references past the end of the file, but only as far as a few blocks more than the file
// needs, and in blocks that the old refcounts had: an entry may name any offset.
void StructureBuilder::add_outside(ReferenceCounts* counts) const {
  constexpr uint64_t kMoreBlocksMax = 64;
  const uint64_t per_block = geometry_.refcount_block_entries();
  const uint64_t near = div_ceil(pass_->counts().cluster_count(), per_block) + kMoreBlocksMax;
  for (const auto& [cluster, references] : pass_->references().outside_counts()) {
    const uint64_t index = cluster / per_block;
    if (cluster >= kClustersMax) break;
    if (index >= near && pass_->refcounts().entry(index).offset().is_zero()) continue;
    if (cluster >= counts->cluster_count()) counts->grow(cluster + 1);
    const uint64_t old = counts->count(cluster);
    if (references > old) counts->add(cluster, references - old, ReferenceCounts::Claim::kNone);
  }
}

Task<void> StructureBuilder::write_refcounts(CheckPass* counted) {
  ReferenceCounts& counts = counted->counts();
  const RefcountPlan plan = places_.take_for_refcounts(counts);
  std::vector<uint64_t> own;
  for (uint64_t i = 0; i < plan.table_clusters; ++i) own.push_back(plan.first + i);
  for (size_t i = 0; i < plan.blocks.size(); ++i) own.push_back(plan.block_cluster(i));
  for (const uint64_t cluster : own) {
    if (cluster >= counts.cluster_count()) counts.grow(cluster + 1);
    counts.add(cluster, 1, ReferenceCounts::Claim::kNone);
  }
  Buffer table(plan.table_clusters << geometry_.cluster_bits());
  std::ranges::fill(table.bytes(), uint8_t{0});
  Buffer block(geometry_.cluster_size());
  for (size_t i = 0; i < plan.blocks.size(); ++i) {
    if (pass_->options().cancellation != nullptr) pass_->options().cancellation->check();
    const uint64_t offset = plan.block_cluster(i) << geometry_.cluster_bits();
    fill_refcount_block(counts, geometry_, plan.blocks[i], block.bytes());
    const WriteBuffers from(block.bytes());
    co_await file().write(offset, from, WriteFlags::kNone);
    const uint64_t word = layout::RefcountTableEntry::block(HostOffset(offset)).word();
    store_big_endian<uint64_t>(table.data() + plan.blocks[i] * 8, word);
  }
  const WriteBuffers from(table.bytes());
  co_await file().write(plan.first << geometry_.cluster_bits(), from, WriteFlags::kNone);
  header_.refcount_table_offset = HostOffset(plan.first << geometry_.cluster_bits());
  header_.refcount_table_clusters = static_cast<uint32_t>(plan.table_clusters);
}

Task<void> StructureBuilder::write_header() {
  constexpr size_t kStart = offsetof(RawHeader, l1_size);
  constexpr size_t kEnd = offsetof(RawHeader, incompatible_features);
  static_assert(kEnd <= layout::limits::kHeaderSizeV2 && kEnd - kStart == 36);
  const std::vector<uint8_t> bytes = header_.encode();
  std::vector<uint8_t> fields(bytes.begin() + kStart, bytes.begin() + kEnd);
  has_switched_ = true;
  co_await write_to_header(&file(), kStart, std::move(fields));
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
  const bool new_snapshots = pass_->metadata().has_repaired_snapshots();
  const bool new_l1 = pass_->options().repairs && must_move_l1(*pass_);
  const bool new_bitmaps = bitmaps_ != nullptr;
  if (new_snapshots) co_await write_snapshot_table();
  if (new_bitmaps) co_await write_bitmap_directory();
  if (new_l1) co_await move_l1_table();
  std::optional<CheckPass> again;
  CheckOptions silent;
  silent.findings_max = 0;
  silent.is_repair = true;
  silent.cancellation = pass_->options().cancellation;
  CheckPass* counted = pass_;
  if (new_snapshots || new_l1 || new_bitmaps) {
    CheckSubject subject{&file(), header_, pass_->subject().extensions};
    subject.extensions.bitmaps = extension_;
    again.emplace(std::move(subject), &silent);
    co_await again->count();
    counted = &*again;
    places_.avoid(counted->counts());
  }
  if (keep_leaks_) co_await add_old_refcounts(&counted->counts());
  if (new_bitmaps) add_old_directory(&counted->counts());
  add_outside(&counted->counts());
  note_old_structure();
  co_await write_refcounts(counted);
  co_await write_header();
  co_return header_;
}

}  // namespace byre::qcow2
