// SPDX-License-Identifier: Apache-2.0
#include "qcow2/checker_metadata.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "base/units.h"
#include "qcow2/padded_read.h"

namespace byre::qcow2 {
namespace {

// Bytes behind the snapshot table entry up to a multiple of 8.
uint64_t padding_of(const layout::Snapshot& snapshot) {
  return -(snapshot.unknown_extra_data.size() + snapshot.id.size() + snapshot.name.size()) % 8;
}

}  // namespace

MetadataCounter::MetadataCounter(const CheckSubject* subject, CheckerFile* file,
                                 ReferenceCounter* references, const CheckOptions* options)
    : subject_(subject), file_(file), references_(references), options_(options) {}

// The header lets a checker through with any pointer.
void MetadataCounter::check_snapshot_pointer() {
  const layout::Header& header = subject_->header;
  try {
    header.check_snapshot_table();
  } catch (const Error& error) {
    const uint32_t count = header.snapshot_count;
    references_->findings().add(
        {.kind = FindingKind::kSnapshotTableUnreadable,
         .severity = Severity::kCheckError,
         .offset = header.snapshots_offset.value(),
         .value = count,
         .names_program = true},
        [&] {
          if (error.errno_value() != EFBIG)
            return std::string("ERROR snapshot table offset invalid");
          return fmt::format(
              "ERROR snapshot table too large\n"
              "You can force-remove all {} overhanging snapshots with qemu-img check -r all",
              count - layout::limits::kSnapshotsMax);
        });
    throw;
  }
}

Task<void> MetadataCounter::read_snapshots() {
  check_snapshot_pointer();
  const layout::Header& header = subject_->header;
  if (header.snapshot_count == 0) co_return;
  try {
    co_await decode_snapshots();
  } catch (const Error& error) {
    references_->findings().add(
        {.kind = FindingKind::kSnapshotTableUnreadable,
         .severity = Severity::kCheckError,
         .offset = header.snapshots_offset.value(),
         .names_program = true},
        [&] { return "ERROR failed to read the snapshot table: " + error.message(); });
    throw;
  }
  if (header.version >= 3) check_snapshot_entries();
}

Task<void> MetadataCounter::decode_snapshots() {
  layout::SnapshotTableDecoder decoder(subject_->header);
  if (options_->mends) {
    decoder.cut_extra_data([this](size_t index, uint64_t size) { report_cut(index, size); });
  }
  while (!decoder.done()) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const uint64_t wanted = decoder.wanted();
    const ConstBytes bytes = co_await file_->read(decoder.offset().value(), wanted, 0);
    decoder.feed(bytes);
  }
  snapshot_table_size_ = decoder.table_size();
  snapshots_ = decoder.take();
  snapshot_table_size_ -= padding_of(snapshots_.back());
}

void MetadataCounter::report_cut(size_t index, uint64_t size) {
  has_mended_snapshots_ = true;
  references_->findings().add(
      {.kind = FindingKind::kSnapshotExtraData, .value = index, .is_mended = true}, [&] {
        return fmt::format(
            "Discarding too much extra metadata in snapshot table entry {} ({} > {})", index, size,
            layout::limits::kSnapshotExtraDataSizeMax);
      });
}

// Version 3 asks for the size that the disk had.
void MetadataCounter::check_snapshot_entries() {
  for (size_t i = 0; i < snapshots_.size(); ++i) {
    layout::Snapshot& snapshot = snapshots_[i];
    if (snapshot.disk_size) continue;
    const bool mends = options_->mends;
    references_->findings().add(
        {.kind = FindingKind::kSnapshotIncomplete, .value = i, .is_mended = mends}, [&] {
          return fmt::format("{} snapshot table entry {} is incomplete",
                             mends ? "Repairing" : "ERROR", i);
        });
    if (!mends) continue;
    has_mended_snapshots_ = true;
    snapshot.has_large_vm_state_size = true;
    snapshot.disk_size = align_down(subject_->header.size, kSectorSize);
  }
}

bool MetadataCounter::check_snapshot_l1(const layout::Snapshot& snapshot) {
  const uint64_t offset = snapshot.l1_table_offset.value();
  // QEMU prints both as C strings.
  const char* const id = snapshot.id.c_str();
  const char* const name = snapshot.name.c_str();
  if (!references_->geometry().is_cluster_aligned(snapshot.l1_table_offset)) {
    references_->set_incomplete();
    references_->findings().add({.kind = FindingKind::kSnapshotL1Unaligned, .offset = offset}, [&] {
      return fmt::format(
          "ERROR snapshot {} ({}) l1_offset={:#x}: L1 table is not cluster aligned; snapshot "
          "table entry corrupted",
          id, name, offset);
    });
    return false;
  }
  if (snapshot.l1_size > layout::limits::kSnapshotL1EntriesMax) {
    references_->set_incomplete();
    references_->findings().add(
        {.kind = FindingKind::kSnapshotL1TooLarge, .offset = offset, .value = snapshot.l1_size},
        [&] {
          return fmt::format(
              "ERROR snapshot {} ({}) l1_size={:#x}: L1 table is too large; snapshot table entry "
              "corrupted",
              id, name, snapshot.l1_size);
        });
    return false;
  }
  return true;
}

Task<void> MetadataCounter::count_snapshots() {
  if (!snapshots_.empty() && references_->geometry().external_data_file()) {
    const size_t count = snapshots_.size();
    references_->findings().add(
        {.kind = FindingKind::kSnapshotsWithDataFile, .value = count},
        [count] { return fmt::format("ERROR {} snapshots in image with data file", count); });
  }
  for (const layout::Snapshot& snapshot : snapshots_) {
    if (!check_snapshot_l1(snapshot)) continue;
    co_await references_->count_l1_table(snapshot.l1_table_offset.value(), snapshot.l1_size, false);
  }
  references_->count_region(subject_->header.snapshots_offset.value(), snapshot_table_size_);
}

Task<void> MetadataCounter::count_bitmaps() {
  if (!subject_->extensions.bitmaps) co_return;
  const layout::BitmapsExtension& extension = *subject_->extensions.bitmaps;
  references_->count_region(extension.directory_offset.value(), extension.directory_size);
  std::vector<layout::BitmapEntry> bitmaps;
  try {
    extension.check_directory();
    std::vector<uint8_t> directory(extension.directory_size);
    co_await padded_read(&file_->device(), extension.directory_offset.value(), Bytes(directory));
    bitmaps = layout::parse_bitmap_directory(directory, extension, references_->geometry(),
                                             subject_->header.size);
  } catch (const Error& error) {
    references_->findings().add(
        {.kind = FindingKind::kBitmapTable, .offset = extension.directory_offset.value()});
    throw;
  }
  for (const layout::BitmapEntry& bitmap : bitmaps) {
    co_await count_bitmap_table(bitmap.table_offset.value(), bitmap.table_size);
  }
  for (const auto& [offset, shared] : shared_bitmaps_) {
    if (shared.owed == 0) continue;
    const uint64_t cluster_size = references_->geometry().cluster_size();
    co_await count_bitmap_table_cluster(offset, cluster_size, shared.owed);
  }
}

Task<void> MetadataCounter::count_bitmap_table(uint64_t offset, uint64_t entries) {
  const layout::Geometry& geometry = references_->geometry();
  const uint64_t size = entries * 8;
  references_->count_region(offset, size);
  const uint64_t end = offset + file_->stored(offset, size);
  for (uint64_t place = offset; place < end; place += geometry.cluster_size()) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const uint64_t length = std::min(geometry.cluster_size(), end - place);
    if (length == geometry.cluster_size() && references_->is_shared(place)) {
      SharedTable& shared = shared_bitmaps_[place];
      if (shared.reads > 0) {
        ++shared.owed;
        continue;
      }
      ++shared.reads;
    }
    const bool is_hole = co_await file_->is_hole(place, length);
    if (is_hole) continue;
    co_await count_bitmap_table_cluster(place, length, 1);
  }
}

Task<void> MetadataCounter::count_bitmap_table_cluster(uint64_t offset, uint64_t length,
                                                       uint64_t times) {
  const layout::Geometry& geometry = references_->geometry();
  const ConstBytes table = co_await file_->read(offset, length, geometry.cluster_size());
  for (uint64_t i = 0; i + 8 <= length; i += 8) {
    const layout::BitmapTableEntry entry(load_big_endian<uint64_t>(&table[i]));
    const uint64_t place = entry.offset().value();
    switch (entry.kind(geometry)) {
      case layout::BitmapTableKind::kZeroes:
      case layout::BitmapTableKind::kOnes:
        break;
      case layout::BitmapTableKind::kInvalid:
        references_->set_incomplete();
        references_->findings().add(
            {.kind = FindingKind::kBitmapTable, .offset = offset + i, .value = entry.word()});
        references_->findings().count(Severity::kCorruption, times - 1);
        break;
      case layout::BitmapTableKind::kCluster:
        if (times == 1) {
          references_->count_region(place, geometry.cluster_size());
        } else if (!references_->is_outside(place, geometry.cluster_size())) {
          references_->add_references(place, geometry.cluster_size(), times, {});
        }
        break;
    }
  }
}

}  // namespace byre::qcow2
