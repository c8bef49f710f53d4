// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/bitmaps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "block/read_zero_padded.h"

namespace byre::qcow2 {

BitmapCounter::BitmapCounter(const CheckSubject* subject, CheckerFile* file,
                             ReferenceCounter* references, const CheckOptions* options)
    : subject_(subject), file_(file), references_(references), options_(options) {}

// Whether broken bitmaps are removed: a repair then frees what they refer to.
bool BitmapCounter::are_removed() const {
  return options_->repairs && (options_->drops_unreadable || !references_->expects_more());
}

// Clusters of a bitmap that cannot be followed look leaked; they are kept as long as the bitmap is.
void BitmapCounter::add_broken(layout::BrokenBitmap bitmap) {
  if (!are_removed()) references_->set_incomplete();
  references_->findings().add({.kind = FindingKind::kBitmapUnreadable,
                               .index = bitmap.index,
                               .name = bitmap.name,
                               .cause = bitmap.reason});
  broken_.push_back(std::move(bitmap));
}

void BitmapCounter::add_broken(Bitmap* bitmap, std::string reason) {
  if (std::exchange(bitmap->is_broken, true)) return;
  const size_t index = static_cast<size_t>(bitmap - bitmaps_.data());
  add_broken({index, bitmap->entry.name,
              Error(ErrorKind::kCorrupt, EINVAL, ErrorData{.code = "qcow2-bitmap-unreadable"},
                    std::move(reason))});
}

Task<void> BitmapCounter::read_directory() {
  const layout::BitmapsExtension& extension = *subject_->extensions.bitmaps;
  extension.check_directory();
  std::vector<uint8_t> bytes(extension.directory_size);
  co_await read_zero_padded(&file_->device(), extension.directory_offset.value(), Bytes(bytes));
  layout::ReadableBitmaps all = layout::read_bitmap_directory(
      bytes, extension, references_->geometry(), subject_->header.size);
  for (layout::BitmapEntry& entry : all.bitmaps) bitmaps_.push_back({std::move(entry), false});
  for (layout::BrokenBitmap& broken : all.broken) add_broken(std::move(broken));
  is_count_wrong_ = all.is_count_wrong;
  if (!is_count_wrong_) co_return;
  references_->findings().add({.kind = FindingKind::kBitmapCountWrong,
                               .value = all.bitmaps.size() + all.broken.size(),
                               .bound = extension.bitmap_count});
}

Task<void> BitmapCounter::count() {
  if (!subject_->extensions.bitmaps) co_return;
  const layout::BitmapsExtension& extension = *subject_->extensions.bitmaps;
  const uint64_t directory = extension.directory_offset.value();
  if (references_->is_outside(directory, extension.directory_size)) {
    references_->report_outside(directory, extension.directory_size);
  } else {
    references_->count_region(directory, extension.directory_size);
  }
  std::optional<Error> failure;
  try {
    co_await read_directory();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    failure = error;
  }
  if (failure) {
    bitmaps_.clear();
    add_broken({0, std::string(), *failure});
  }
  for (Bitmap& bitmap : bitmaps_) co_await count_table(&bitmap);
  for (const auto& [offset, shared] : shared_) {
    if (shared.owed == 0) continue;
    const uint64_t cluster_size = references_->geometry().cluster_size();
    co_await count_table_cluster(nullptr, offset, cluster_size, shared.owed);
  }
}

Task<void> BitmapCounter::count_table(Bitmap* bitmap) {
  const layout::Geometry& geometry = references_->geometry();
  const uint64_t offset = bitmap->entry.table_offset.value();
  const uint64_t size = uint64_t{bitmap->entry.table_size} * 8;
  if (references_->is_outside(offset, size)) {
    references_->report_outside(offset, size);
    add_broken(bitmap, fmt::format("its table at {:#x} is past the end of the file", offset));
  } else {
    references_->count_region(offset, size);
  }
  const uint64_t end = offset + file_->stored(offset, size);
  for (uint64_t place = offset; place < end; place += geometry.cluster_size()) {
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const uint64_t length = std::min(geometry.cluster_size(), end - place);
    if (length == geometry.cluster_size() && references_->is_shared(place)) {
      SharedTable& shared = shared_[place];
      if (shared.reads > 0) {
        ++shared.owed;
        continue;
      }
      ++shared.reads;
    }
    const bool is_hole = co_await file_->is_hole(place, length);
    if (is_hole) continue;
    co_await count_table_cluster(bitmap, place, length, 1);
  }
}

Task<void> BitmapCounter::count_table_cluster(Bitmap* bitmap, uint64_t offset, uint64_t length,
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
        if (!are_removed()) references_->set_incomplete();
        references_->findings().add(
            {.kind = FindingKind::kBitmapTable, .offset = offset + i, .value = entry.word()});
        references_->findings().count(Severity::kCorruption, times - 1);
        if (bitmap != nullptr) {
          add_broken(bitmap,
                     fmt::format("its table entry at {:#x} is {:#x}", offset + i, entry.word()));
        }
        break;
      case layout::BitmapTableKind::kCluster:
        if (!references_->is_outside(place, geometry.cluster_size())) {
          references_->add_references(place, geometry.cluster_size(), times, {});
          break;
        }
        references_->report_outside(place, geometry.cluster_size());
        if (bitmap != nullptr) {
          add_broken(bitmap, fmt::format("its bits at {:#x} are past the end of the file", place));
        }
        break;
    }
  }
}

void BitmapCounter::find_overlapping() {
  const layout::Geometry& geometry = references_->geometry();
  for (Bitmap& bitmap : bitmaps_) {
    const uint64_t offset = bitmap.entry.table_offset.value();
    const uint64_t size = uint64_t{bitmap.entry.table_size} * 8;
    if (bitmap.is_broken || references_->is_outside(offset, size)) continue;
    const uint64_t end = geometry.clusters_for(offset + size);
    for (uint64_t cluster = offset >> geometry.cluster_bits(); cluster < end; ++cluster) {
      if (!references_->is_referred_to_twice(cluster)) continue;
      add_broken(&bitmap, fmt::format("its table at {:#x} overlaps with something else", offset));
      break;
    }
  }
}

std::vector<layout::BitmapEntry> BitmapCounter::sound() const {
  std::vector<layout::BitmapEntry> sound;
  for (const Bitmap& bitmap : bitmaps_) {
    if (!bitmap.is_broken) sound.push_back(bitmap.entry);
  }
  return sound;
}

}  // namespace byre::qcow2
