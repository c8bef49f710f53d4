// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/metadata.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/checked.h"
#include "base/units.h"
#include "block/read_zero_padded.h"

namespace byre::qcow2 {
namespace {

// Padding after the snapshot table entry to a multiple of 8 bytes.
uint64_t padding_of(const layout::Snapshot& snapshot) {
  return -(snapshot.unknown_extra_data.size() + snapshot.id.size() + snapshot.name.size()) % 8;
}

}  // namespace

MetadataCounter::MetadataCounter(const CheckSubject* subject, CheckerFile* file,
                                 ReferenceCounter* references, const CheckOptions* options)
    : subject_(subject), file_(file), references_(references), options_(options) {}

// For a checker Header::parse() accepts any pointer.
void MetadataCounter::check_snapshot_pointer() {
  const layout::Header& header = subject_->header;
  try {
    header.check_snapshot_table();
  } catch (const Error& error) {
    references_->findings().add({.kind = FindingKind::kSnapshotTableRefused,
                                 .severity = Severity::kCheckError,
                                 .offset = header.snapshots_offset.value(),
                                 .value = header.snapshot_count,
                                 .cause = error});
    throw;
  }
}

Task<void> MetadataCounter::read_snapshots() {
  const layout::Header& header = subject_->header;
  if (options_->is_repair) {
    co_await decode_snapshots_by_guess();
  } else {
    check_snapshot_pointer();
    if (header.snapshot_count != 0) co_await decode_snapshots();
  }
  if (header.version >= 3) check_snapshot_entries();
  if (options_->repairs && options_->drops_unreadable) remove_unreadable();
}

Task<void> MetadataCounter::decode_snapshots() {
  layout::SnapshotTableDecoder decoder(subject_->header);
  try {
    co_await decode(&decoder);
  } catch (const Error& error) {
    references_->findings().add({.kind = FindingKind::kSnapshotTableUnreadable,
                                 .severity = Severity::kCheckError,
                                 .offset = subject_->header.snapshots_offset.value(),
                                 .cause = error});
    throw;
  }
}

Task<void> MetadataCounter::decode(layout::SnapshotTableDecoder* decoder) {
  while (!decoder->done()) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const uint64_t wanted = decoder->wanted();
    const ConstBytes bytes = co_await file_->read(decoder->offset().value(), wanted, 0);
    decoder->feed(bytes);
  }
  snapshot_table_size_ = decoder->table_size();
  snapshots_ = decoder->take();
  if (!snapshots_.empty()) snapshot_table_size_ -= padding_of(snapshots_.back());
}

// Decodes as much of the table as can be read.
Task<void> MetadataCounter::decode_snapshots_by_guess() {
  const layout::Header& header = subject_->header;
  std::optional<layout::SnapshotTableDecoder> decoder;
  std::optional<Error> reason;
  try {
    decoder.emplace(header);
  } catch (const Error& error) {
    reason = error;
  }
  if (!decoder) {
    report_unreadable(0, *reason);
    co_return;
  }
  if (options_->repairs) {
    decoder->cut_extra_data([this](size_t index, uint64_t size) { report_cut(index, size); });
  }
  for (;;) {
    bool is_read = true;
    try {
      co_await decode(&*decoder);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled || error.kind() == ErrorKind::kIo) throw;
      is_read = false;
      reason = error;
    }
    if (is_read) break;
    bool is_guessed = false;
    if (options_->repairs) is_guessed = co_await guess_entry(&*decoder);
    if (is_guessed) continue;
    snapshot_table_size_ = decoder->table_size();
    const uint64_t decoded = decoder->decoded();
    snapshots_ = decoder->take();
    report_unreadable(decoded, *reason);
    co_return;
  }
  // In a table past the end of the file all entries are zeroes.
  const uint64_t offset = header.snapshots_offset.value();
  is_table_kept_ =
      header.snapshot_count != 0 && !range_fits(offset, snapshot_table_size_, file_->size());
  if (is_table_kept_) references_->note_table(offset, snapshot_table_size_);
}

Task<bool> MetadataCounter::guess_entry(layout::SnapshotTableDecoder* decoder) {
  constexpr uint64_t kEntrySizeMax = 256 * kKiB;
  const uint64_t offset = decoder->offset().value();
  const uint64_t length = file_->stored(offset, kEntrySizeMax);
  if (length == 0) co_return false;
  const ConstBytes bytes = co_await file_->read(offset, length, 0);
  const size_t index = decoder->decoded();
  const bool is_guessed = decoder->feed_by_guess(bytes);
  if (is_guessed) report_guess(index);
  co_return is_guessed;
}

void MetadataCounter::report_guess(size_t index) {
  has_repaired_snapshots_ = true;
  references_->findings().add(
      {.kind = FindingKind::kSnapshotExtraDataSize, .index = index, .is_repaired = true});
}

// Reports the entries from this one on. What they refer to is not known.
void MetadataCounter::report_unreadable(uint64_t decoded, const Error& reason) {
  const layout::Header& header = subject_->header;
  const bool removes = options_->repairs && options_->drops_unreadable;
  is_table_kept_ = !removes;
  has_repaired_snapshots_ |= removes;
  if (!removes) references_->set_incomplete();
  references_->findings().add(
      {.kind = removes ? FindingKind::kSnapshotsRemoved : FindingKind::kSnapshotsUnreadable,
       .offset = header.snapshots_offset.value(),
       .index = decoded,
       .value = header.snapshot_count - decoded,
       .cause = reason,
       .is_repaired = removes});
}

// Why the snapshot's L1 table cannot be followed.
std::optional<Error> MetadataCounter::unreadable_l1(const layout::Snapshot& snapshot) const {
  const auto because = [](const char* sentence) {
    return Error(ErrorKind::kCorrupt, EINVAL, ErrorData{.code = "qcow2-snapshot-unreadable"},
                 sentence);
  };
  if (snapshot.disk_size_or(subject_->header.size) == 0) return std::nullopt;
  const uint64_t offset = snapshot.l1_table_offset.value();
  if (offset == 0 || snapshot.l1_size == 0) return because("it has no L1 table");
  if (!references_->geometry().is_cluster_aligned(snapshot.l1_table_offset)) {
    return because("its L1 table is not cluster aligned");
  }
  if (snapshot.l1_size > layout::limits::kSnapshotL1EntriesMax) {
    return because("its L1 table is too large");
  }
  if (references_->is_outside(offset, uint64_t{snapshot.l1_size} * 8)) {
    return because("its L1 table is past the end of the file");
  }
  return std::nullopt;
}

void MetadataCounter::remove_unreadable() {
  size_t index = 0;
  std::erase_if(snapshots_, [&](const layout::Snapshot& snapshot) {
    const size_t own = index++;
    const std::optional<Error> reason = unreadable_l1(snapshot);
    if (!reason) return false;
    has_repaired_snapshots_ = true;
    references_->findings().add({.kind = FindingKind::kSnapshotRemoved,
                                 .index = own,
                                 .id = snapshot.id,
                                 .name = snapshot.name,
                                 .cause = reason,
                                 .is_repaired = true});
    return true;
  });
  if (has_repaired_snapshots_) is_table_kept_ = false;
}

void MetadataCounter::report_cut(size_t index, uint64_t size) {
  has_repaired_snapshots_ = true;
  references_->findings().add({.kind = FindingKind::kSnapshotExtraDataCut,
                               .index = index,
                               .value = size,
                               .bound = layout::limits::kSnapshotExtraDataSizeMax,
                               .is_repaired = true});
}

// Version 3 requires the disk size of the snapshot.
void MetadataCounter::check_snapshot_entries() {
  for (size_t i = 0; i < snapshots_.size(); ++i) {
    layout::Snapshot& snapshot = snapshots_[i];
    if (snapshot.disk_size) continue;
    const bool repairs = options_->repairs;
    references_->findings().add(
        {.kind = FindingKind::kSnapshotIncomplete, .index = i, .is_repaired = repairs});
    if (!repairs) continue;
    has_repaired_snapshots_ = true;
    snapshot.has_large_vm_state_size = true;
    snapshot.disk_size = align_down(subject_->header.size, kSectorSize);
  }
}

bool MetadataCounter::check_snapshot_l1(const layout::Snapshot& snapshot) {
  const uint64_t offset = snapshot.l1_table_offset.value();
  if (!references_->geometry().is_cluster_aligned(snapshot.l1_table_offset)) {
    references_->set_incomplete();
    references_->findings().add({.kind = FindingKind::kSnapshotL1Unaligned,
                                 .offset = offset,
                                 .id = snapshot.id,
                                 .name = snapshot.name});
    return false;
  }
  if (snapshot.l1_size > layout::limits::kSnapshotL1EntriesMax) {
    references_->set_incomplete();
    references_->findings().add({.kind = FindingKind::kSnapshotL1TooLarge,
                                 .offset = offset,
                                 .value = snapshot.l1_size,
                                 .id = snapshot.id,
                                 .name = snapshot.name});
    return false;
  }
  return true;
}

Task<void> MetadataCounter::count_snapshots() {
  if (!snapshots_.empty() && references_->geometry().external_data_file()) {
    references_->findings().add(
        {.kind = FindingKind::kSnapshotsWithDataFile, .value = snapshots_.size()});
  }
  for (const layout::Snapshot& snapshot : snapshots_) {
    if (unreadable_l1(snapshot)) references_->set_incomplete();
    if (!check_snapshot_l1(snapshot)) continue;
    co_await references_->count_l1_table(snapshot.l1_table_offset.value(), snapshot.l1_size, false);
  }
  references_->count_region(subject_->header.snapshots_offset.value(), snapshot_table_size_);
}

}  // namespace byre::qcow2
