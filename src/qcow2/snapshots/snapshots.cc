// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/units.h"
#include "qcow2/layout/limits.h"
#include "qcow2/read/reader.h"
#include "qcow2/snapshots/removal_in_place.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/update/table_update.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

using layout::Snapshot;

namespace {

// QEMU addresses snapshots by names of at most this many bytes.
constexpr size_t kNameSizeMax = 255;

uint64_t table_size(const std::vector<Snapshot>& snapshots) {
  uint64_t size = 0;
  for (const Snapshot& snapshot : snapshots) size += snapshot.encoded_size();
  return size;
}

}  // namespace

uint64_t valid_disk_size(const Snapshot& snapshot, uint64_t image_size,
                         const layout::Geometry& geometry) {
  const uint64_t size = snapshot.disk_size_or(image_size);
  const uint64_t entries = geometry.l1_entries_for(size);
  if (size % kSectorSize != 0 || entries > layout::limits::kL1EntriesMax) {
    throw Error(ErrorKind::kCorrupt, EINVAL,
                ErrorData{.code = "qcow2-snapshot-disk-size-invalid",
                          .field = "disk_size",
                          .value = size,
                          .name = snapshot.name},
                fmt::format("disk_size of snapshot '{}' is {}, which no disk can have",
                            snapshot.name, size));
  }
  return size;
}

// The entries of such an image refer to the data file, whose clusters have no refcounts.
void Snapshots::check_no_data_file() const {
  if (!context_->header().has_external_data_file()) return;
  throw Error(ErrorKind::kUnsupported, ENOTSUP, ErrorData{.code = "qcow2-snapshot-with-data-file"},
              "an image with an external data file cannot have snapshots");
}

void Snapshots::check_create(const NewSnapshot& snapshot) const {
  check_no_data_file();
  if (!snapshot.id && snapshot.name.size() > kNameSizeMax) {
    throw Error(ErrorKind::kInvalidArgument, ENAMETOOLONG,
                ErrorData{.code = "qcow2-snapshot-name-too-long",
                          .value = snapshot.name.size(),
                          .bound = kNameSizeMax},
                fmt::format("the name of the snapshot has {} bytes; at most {} are possible",
                            snapshot.name.size(), kNameSizeMax));
  }
  if (snapshots_->size() >= layout::limits::kSnapshotsMax) {
    throw Error(
        ErrorKind::kUnsupported, EFBIG,
        ErrorData{.code = "qcow2-snapshots-full", .bound = layout::limits::kSnapshotsMax},
        fmt::format("the image has {} snapshots, and more are not supported", snapshots_->size()));
  }
}

void Snapshots::check_apply(const SnapshotSelector& selector) const {
  check_no_data_file();
  const Snapshot& snapshot = (*snapshots_)[find_snapshot(*snapshots_, selector)];
  snapshot.validate_l1(context_->geometry);
  if (!bitmaps_->empty()) {
    throw Error(ErrorKind::kUnsupported, EBUSY,
                ErrorData{.code = "qcow2-snapshot-with-bitmaps", .name = bitmaps_->front().name},
                fmt::format("the image has the bitmap '{}', which would not record what applying "
                            "a snapshot changes",
                            bitmaps_->front().name));
  }
  valid_disk_size(snapshot, context_->disk_size(), context_->geometry);
}

void Snapshots::check_remove(const SnapshotSelector& selector) const {
  const Snapshot& snapshot = (*snapshots_)[find_snapshot(*snapshots_, selector)];
  check_no_data_file();
  snapshot.validate_l1(context_->geometry);
}

// One more than the highest id, as in QEMU.
std::string Snapshots::new_id() const {
  uint64_t highest = 0;
  for (const Snapshot& snapshot : *snapshots_) {
    highest = std::max<uint64_t>(highest, std::strtoul(snapshot.id.c_str(), nullptr, 10));
  }
  return std::to_string(highest + 1);
}

Task<std::vector<uint64_t>> Snapshots::load_l1(Snapshot snapshot) {
  const L1Table l1 =
      co_await L1Table::load(&context_->file(), snapshot.l1_table_offset.value(), snapshot.l1_size);
  co_return l1.entries();
}

// Writes the new snapshot table, and makes everything the image's.
Task<void> Snapshots::commit(TableUpdate* update, std::vector<Snapshot> snapshots, uint64_t size) {
  const std::vector<uint8_t> table = layout::encode_snapshot_table(snapshots);
  TableUpdate::Result result;
  result.size = size;
  result.snapshots = static_cast<uint32_t>(snapshots.size());
  result.snapshot_table = co_await update->write_table(table);
  co_await update->drop_table(context_->header().snapshots_offset, table_size(*snapshots_));
  co_await update->commit(result);
  *snapshots_ = std::move(snapshots);
  co_await finish(update);
}

// After the commit.
Task<void> Snapshots::finish(TableUpdate* update) {
  reader_->drop_all_compressed();
  co_await update->finish(FreeCause::kSnapshot);
}

// A snapshot that has the L1 table of the disk.
Snapshot Snapshots::entry_of(NewSnapshot wanted) const {
  Snapshot snapshot;
  snapshot.l1_table_offset = layout::HostOffset(tables_->l1.offset());
  snapshot.l1_size = tables_->l1.size();
  snapshot.id = wanted.id ? std::move(*wanted.id) : new_id();
  snapshot.name = std::move(wanted.name);
  snapshot.date_sec = wanted.date_sec;
  snapshot.date_nsec = wanted.date_nsec;
  snapshot.vm_clock_nsec = wanted.vm_clock_nsec;
  snapshot.vm_state_size = wanted.vm_state_size;
  snapshot.disk_size = context_->disk_size();
  snapshot.icount = wanted.icount;
  snapshot.unknown_extra_data = std::move(wanted.unknown_extra_data);
  return snapshot;
}

std::vector<uint64_t> Snapshots::l1_without_vm_state() const {
  std::vector<uint64_t> l1 = tables_->l1.entries();
  const uint64_t disk_entries = context_->geometry.l1_index(context_->vm_state_start());
  if (disk_entries < l1.size()) {
    std::fill(l1.begin() + static_cast<ptrdiff_t>(disk_entries), l1.end(), 0);
  }
  return l1;
}

// The snapshot gets the L1 table that the disk had until now, and the disk a new one.
Task<void> Snapshots::create(NewSnapshot wanted) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  check_create(wanted);
  co_await flusher_->settle();
  TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
  co_await update.begin();
  std::vector<uint64_t> l1 =
      wanted.vm_state_size == 0 ? tables_->l1.entries() : l1_without_vm_state();
  Snapshot snapshot = entry_of(std::move(wanted));
  co_await update.add_references(l1);
  co_await update.set_active_l1(std::move(l1));
  std::vector<Snapshot> snapshots = *snapshots_;
  snapshots.push_back(std::move(snapshot));
  co_await commit(&update, std::move(snapshots), context_->header().size);
}

Task<void> Snapshots::apply(SnapshotSelector selector) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  check_apply(selector);
  co_await flusher_->settle();
  TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
  co_await update.begin();
  const Snapshot& snapshot = (*snapshots_)[find_snapshot(*snapshots_, selector)];
  const uint64_t size = snapshot.disk_size_or(context_->disk_size());
  std::vector<uint64_t> l1 = co_await load_l1(snapshot);
  l1.resize(std::max<uint64_t>(l1.size(), context_->geometry.l1_entries_for(size)));
  // Dropping comes first, so that a refcount may be at its maximum. Nothing that the snapshot has
  // loses its last reference.
  const std::vector<uint64_t> old_l1 = tables_->l1.entries();
  co_await update.drop_references(old_l1);
  co_await update.add_references(l1);
  co_await update.replace_active_l1(std::move(l1));
  co_await commit(&update, *snapshots_, size);
}

// First the snapshot goes from the table. Only when that is durable, its clusters may become the
// disk's alone, and be written to in place: see decision 0015.
Task<void> Snapshots::remove(SnapshotSelector selector) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  check_remove(selector);
  const size_t index = find_snapshot(*snapshots_, selector);
  const Snapshot snapshot = (*snapshots_)[index];
  co_await flusher_->settle();
  const std::vector<uint64_t> l1 = co_await load_l1(snapshot);
  co_await remove_entry(index);
  co_await drop_clusters(snapshot, l1);
}

Task<void> Snapshots::remove_entry(size_t index) {
  std::vector<Snapshot> snapshots = *snapshots_;
  snapshots.erase(snapshots.begin() + static_cast<ptrdiff_t>(index));
  std::optional<Error> full;
  try {
    TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
    co_await update.begin();
    co_await commit(&update, snapshots, context_->header().size);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNoSpace) throw;
    full = error;
  }
  if (!full) co_return;
  // What was written past the end of the file takes space.
  co_await allocator_->truncate_to_used();
  if (!RemovalInPlace::is_possible(index, snapshots_->size())) {
    throw full->with_hint("the disk is full; the last snapshot of the list can be deleted even so");
  }
  RemovalInPlace in_place(context_, reader_, refcounts_, allocator_, flusher_);
  co_await in_place.remove_last_entry(table_size(*snapshots_),
                                      static_cast<uint32_t>(snapshots_->size()));
  *snapshots_ = std::move(snapshots);
  co_await overlap_->load(*refcounts_);
}

// On a full disk what only the snapshot has is freed first, to make room for the tables.
Task<void> Snapshots::drop_clusters(Snapshot snapshot, std::vector<uint64_t> l1) {
  const bool is_done = co_await try_to_drop(&snapshot, &l1, TableUpdate::Dropped::kAll);
  if (is_done) co_return;
  co_await allocator_->truncate_to_used();
  RemovalInPlace in_place(context_, reader_, refcounts_, allocator_, flusher_);
  co_await in_place.free_clusters(l1);
  const bool is_rest_done = co_await try_to_drop(&snapshot, &l1, TableUpdate::Dropped::kRemaining);
  if (!is_rest_done) warn_of_leaks(snapshot);
}

void Snapshots::warn_of_leaks(const Snapshot& snapshot) const {
  const std::string& file = context_->file().filename();
  context_->health.warn(
      {WarningKind::kLeaked,
       Error(ErrorKind::kNoSpace, ENOSPC,
             ErrorData{.code = "qcow2-snapshot-leaked", .name = snapshot.name, .file = file},
             fmt::format("The disk is full. Snapshot '{}' of '{}' is deleted, but clusters that it "
                         "shared with the disk or with other snapshots may leak; "
                         "'check -r leaks' frees them",
                         snapshot.name, file))});
}

// Returns false if there is no space.
Task<bool> Snapshots::try_to_drop(const Snapshot* snapshot, const std::vector<uint64_t>* l1,
                                  TableUpdate::Dropped dropped) {
  try {
    TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
    co_await update.begin();
    co_await drop_all(&update, snapshot, l1, dropped);
    co_return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNoSpace) throw;
  }
  co_return false;
}

Task<void> Snapshots::drop_all(TableUpdate* update, const Snapshot* snapshot,
                               const std::vector<uint64_t>* l1, TableUpdate::Dropped dropped) {
  co_await update->drop_references(*l1, dropped);
  co_await update->drop_table(snapshot->l1_table_offset, l1->size() * 8);
  co_await update->commit_drops();
  co_await finish(update);
}

// What remove() would do, without the commit.
Task<uint64_t> Snapshots::size_freed_by_removing(SnapshotSelector selector) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  const Snapshot snapshot = (*snapshots_)[find_snapshot(*snapshots_, selector)];
  if (context_->health.is_prepared()) {
    co_await flusher_->settle();
  } else {
    co_await refcounts_->load();
  }
  TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
  co_await update.begin();
  const std::vector<uint64_t> l1 = co_await load_l1(snapshot);
  co_await update.drop_references(l1);
  co_await update.drop_table(snapshot.l1_table_offset, l1.size() * 8);
  uint64_t clusters = 0;
  for (const ClusterRange& range : update.freed()) clusters += range.count;
  co_return clusters << context_->geometry.cluster_bits();
}

}  // namespace byre::qcow2
