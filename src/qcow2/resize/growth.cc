// SPDX-License-Identifier: Apache-2.0
#include "qcow2/resize/growth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>

#include "async/clean_up.h"
#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "qcow2/layout/limits.h"
#include "qcow2/resize/preallocator.h"
#include "qcow2/space/allocator.h"
#include "qcow2/tables/tables.h"
#include "qcow2/write/flusher.h"
#include "qcow2/write/linker.h"
#include "qcow2/write/zeroing.h"

namespace byre::qcow2 {

// A bitmap that is not in use records what changed since it was made, so it would have to be
// resized as well. One that is in use cannot be kept.
void Growth::check_bitmaps(uint64_t new_size) const {
  for (const layout::BitmapEntry& bitmap : *bitmaps_) {
    if (!bitmap.in_use()) continue;
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "qcow2-resize-with-bitmap-in-use", .name = bitmap.name},
                fmt::format("the bitmap '{}' was not saved by its last user, and cannot be resized",
                            bitmap.name))
        .with_hint("Try block-dirty-bitmap-remove to delete this bitmap from disk");
  }
  if (bitmaps_->empty() || new_size == context_->disk_size()) return;
  const std::string& name = bitmaps_->front().name;
  throw Error(
      ErrorKind::kUnsupported, ENOTSUP,
      ErrorData{
          .code = "qcow2-resize-with-bitmaps", .name = name, .file = context_->file().filename()},
      fmt::format("the image has the bitmap '{}', which cannot be resized yet", name));
}

void Growth::validate(uint64_t new_size, Preallocation preallocation) const {
  if (new_size > BlockDevice::kSizeMax) {
    throw Error(
        ErrorKind::kInvalidArgument, EINVAL,
        ErrorData{
            .code = "qcow2-new-size-impossible", .value = new_size, .bound = BlockDevice::kSizeMax},
        fmt::format("the new size is {}; at most {} is possible", new_size, BlockDevice::kSizeMax));
  }
  if (new_size % kSectorSize != 0) {
    throw Error(
        ErrorKind::kInvalidArgument, EINVAL,
        ErrorData{.code = "qcow2-new-size-unaligned", .value = new_size, .bound = kSectorSize},
        fmt::format("the new size is {}, not a multiple of {}", new_size, kSectorSize));
  }
  if (!snapshots_->empty() && context_->header().version < 3) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, ErrorData{.code = "qcow2-resize-with-snapshots"},
                "the image has snapshots, and in version 2 they have no disk size of their own");
  }
  check_bitmaps(new_size);
  if (new_size < context_->disk_size() && preallocation != Preallocation::kOff) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "qcow2-shrink-with-preallocation", .value = new_size},
                fmt::format("the new size is {}, less than now, and preallocation is only for "
                            "growing",
                            new_size));
  }
  const uint64_t entries_max = layout::limits::kL1EntriesMax;
  if (context_->geometry.l1_entries_for(new_size) > entries_max) {
    throw Error(
        ErrorKind::kNoSpace, EFBIG,
        ErrorData{.code = "qcow2-new-size-beyond-l1-table", .field = "size", .value = new_size},
        fmt::format("the new size is {}, which needs an L1 table of {} entries; at most {} "
                    "are allowed",
                    new_size, context_->geometry.l1_entries_for(new_size), entries_max));
  }
}

Task<void> Growth::grow(uint64_t new_size, Preallocation preallocation) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  // Another request may have grown the disk meanwhile.
  if (new_size <= context_->disk_size()) co_return;
  const uint64_t data_end =
      context_->storage.data_file() ? context_->storage.data_file()->size() : 0;
  if (context_->storage.data_file() && data_end < new_size) {
    // Preallocating metadata does not involve the data file.
    const Preallocation wanted =
        preallocation == Preallocation::kMetadata ? Preallocation::kOff : preallocation;
    co_await context_->storage.data_file()->resize(new_size, wanted);
  }
  const uint64_t entries = context_->geometry.l1_entries_for(new_size);
  if (entries > tables_->l1.size()) co_await grow_l1_table(entries);
  co_await zero_past_end(new_size, data_end);
  if (preallocation != Preallocation::kOff) {
    Preallocator preallocator(context_, allocator_, linker_);
    co_await preallocator.run(GuestOffset(context_->disk_size()), GuestOffset(new_size),
                              preallocation, data_end);
  }
  co_await flusher_->flush();
  co_await context_->header_store.set_size(new_size);
}

Task<void> Growth::make_l1_entries(layout::GuestOffset end) {
  const uint64_t entries = context_->geometry.l1_entries_for(end.value());
  if (entries <= tables_->l1.size()) co_return;
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  if (entries <= tables_->l1.size()) co_return;
  // Round up to the end of a cluster, so that the table does not move again for each L2 table.
  const uint64_t per_cluster = context_->geometry.cluster_size() / 8;
  const uint64_t entries_max = layout::limits::kL1EntriesMax;
  const uint64_t rounded = std::min(align_up(entries, per_cluster), entries_max);
  co_await grow_l1_table(rounded);
}

// Zeroes the bytes of the last cluster past the old end, what entries past the old end refer to,
// and what would become visible of a longer backing file, or of a raw data file that ended at
// `data_end`.
Task<void> Growth::zero_past_end(uint64_t new_size, uint64_t data_end) {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t old_size = context_->disk_size();
  uint64_t end = align_up(old_size, geometry.l2_coverage());
  // The VM state area begins after the last L2 table; if the disk grows into it, it is lost.
  const bool is_raw = context_->header().has_raw_external_data();
  end = std::max(end, is_raw ? data_end : uint64_t{tables_->l1.size()} * geometry.l2_coverage());
  if (context_->backing()) end = std::max(end, context_->backing()->size());
  end = std::min(end, align_up(new_size, geometry.cluster_size()));
  if (end > old_size) {
    co_await zeroing_->clear_locked(GuestOffset(old_size), end - old_size);
  }
}

Task<void> Growth::grow_l1_table(uint64_t entries) {
  const layout::Geometry& geometry = context_->geometry;
  // The L2 tables must be on disk before the new L1 table is.
  co_await flusher_->flush();
  const Mutex::Guard guard = co_await linker_->l1_mutex().lock();
  co_await context_->events().raise(DebugEvent::kL1GrowAllocTable);
  const uint64_t old_clusters = geometry.clusters_for_entries(tables_->l1.size());
  const HostCluster old_first = geometry.cluster_of(HostOffset(tables_->l1.offset()));
  const ClusterRange place =
      co_await allocator_->allocate_all(geometry.clusters_for_entries(entries));
  std::exception_ptr error;
  try {
    Buffer bytes(entries * 8);
    for (uint64_t index = 0; index < entries; ++index) {
      const uint64_t entry = index < tables_->l1.size() ? tables_->l1.entry(index) : 0;
      store_big_endian<uint64_t>(bytes.data() + index * 8, entry);
    }
    const WriteBuffers from(bytes.bytes());
    co_await context_->events().raise(DebugEvent::kL1GrowWriteTable);
    co_await context_->file().write(geometry.offset_of(place.first).value(), from);
    co_await tables_->refcount_cache.write_back();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    Task<void> freeing = allocator_->free(place);
    co_await clean_up_and_rethrow(std::move(freeing), error);
  }
  co_await context_->events().raise(DebugEvent::kL1GrowActivateTable);
  co_await context_->header_store.set_l1_table(geometry.offset_of(place.first),
                                               static_cast<uint32_t>(entries));
  tables_->l1.moved(geometry.offset_of(place.first).value(), static_cast<uint32_t>(entries));
  if (old_clusters > 0) {
    const ClusterRange old{old_first, old_clusters};
    co_await allocator_->free(old);
  }
}

}  // namespace byre::qcow2
