// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/header_store.h"

#include <cerrno>
#include <exception>
#include <new>

#include "qcow2/layout/header.h"

namespace byre::qcow2 {

using layout::RawHeader;

Task<void> HeaderStore::write(size_t offset, ConstBytes bytes) {
  // Made before it is needed: then there may be no memory for it.
  const Error no_memory(ErrorKind::kNoMemory, ENOMEM, errno_text(ENOMEM));
  std::exception_ptr error;
  bool is_begun = false;
  try {
    co_await file_->flush();
    // What the header is about to name may have been lost by another flush that failed. Feature
    // bits do not name anything, and one of them records damage.
    const bool names_tables = offset != offsetof(RawHeader, incompatible_features);
    if (names_tables) health_->check_not_failed();
    const WriteBuffers from(bytes);
    is_begun = true;
    co_await file_->write(offset, from);
    co_await file_->flush();
    if (names_tables) health_->check_not_failed();
  } catch (const Error& failure) {
    health_->note_failure(failure, Health::Operation::kFlush);
    error = std::current_exception();
  } catch (const std::bad_alloc&) {
    if (is_begun) health_->note_failure(no_memory, Health::Operation::kFlush);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

Task<void> HeaderStore::set_refcount_table(layout::HostOffset offset, uint32_t clusters) {
  static_assert(offsetof(RawHeader, refcount_table_clusters) ==
                offsetof(RawHeader, refcount_table_offset) + 8);
  const Mutex::Guard guard = co_await mutex_.lock();
  uint8_t bytes[12];
  store_big_endian<uint64_t>(bytes, offset.value());
  store_big_endian<uint32_t>(bytes + 8, clusters);
  co_await write(offsetof(RawHeader, refcount_table_offset), ConstBytes(bytes));
  first_cluster_.header.refcount_table_offset = offset;
  first_cluster_.header.refcount_table_clusters = clusters;
}

Task<void> HeaderStore::set_l1_table(layout::HostOffset offset, uint32_t entries) {
  static_assert(offsetof(RawHeader, l1_table_offset) == offsetof(RawHeader, l1_size) + 4);
  const Mutex::Guard guard = co_await mutex_.lock();
  uint8_t bytes[12];
  store_big_endian<uint32_t>(bytes, entries);
  store_big_endian<uint64_t>(bytes + 4, offset.value());
  co_await write(offsetof(RawHeader, l1_size), ConstBytes(bytes));
  first_cluster_.header.l1_size = entries;
  first_cluster_.header.l1_table_offset = offset;
}

Task<void> HeaderStore::set_size(uint64_t size) {
  const Mutex::Guard guard = co_await mutex_.lock();
  uint8_t bytes[8];
  store_big_endian<uint64_t>(bytes, size);
  co_await write(offsetof(RawHeader, size), ConstBytes(bytes));
  first_cluster_.header.size = size;
}

HeaderStore::TableSet HeaderStore::tables() const {
  const layout::Header& now = header();
  return {.size = now.size,
          .l1_table = now.l1_table_offset,
          .l1_entries = now.l1_size,
          .refcount_table = now.refcount_table_offset,
          .refcount_table_clusters = now.refcount_table_clusters,
          .snapshot_table = now.snapshots_offset,
          .snapshots = now.snapshot_count};
}

Task<void> HeaderStore::set_tables(TableSet tables) {
  constexpr size_t kBegin = offsetof(RawHeader, size);
  constexpr size_t kEnd = offsetof(RawHeader, incompatible_features);
  const Mutex::Guard guard = co_await mutex_.lock();
  layout::Header& now = first_cluster_.header;
  uint8_t bytes[kEnd - kBegin];
  const auto at = [&bytes](size_t offset) { return bytes + (offset - kBegin); };
  store_big_endian<uint64_t>(at(offsetof(RawHeader, size)), tables.size);
  store_big_endian<uint32_t>(at(offsetof(RawHeader, crypt_method)),
                             static_cast<uint32_t>(now.crypt_method));
  store_big_endian<uint32_t>(at(offsetof(RawHeader, l1_size)), tables.l1_entries);
  store_big_endian<uint64_t>(at(offsetof(RawHeader, l1_table_offset)), tables.l1_table.value());
  store_big_endian<uint64_t>(at(offsetof(RawHeader, refcount_table_offset)),
                             tables.refcount_table.value());
  store_big_endian<uint32_t>(at(offsetof(RawHeader, refcount_table_clusters)),
                             tables.refcount_table_clusters);
  store_big_endian<uint32_t>(at(offsetof(RawHeader, nb_snapshots)), tables.snapshots);
  store_big_endian<uint64_t>(at(offsetof(RawHeader, snapshots_offset)),
                             tables.snapshot_table.value());
  co_await write(kBegin, ConstBytes(bytes));
  now.size = tables.size;
  now.l1_size = tables.l1_entries;
  now.l1_table_offset = tables.l1_table;
  now.refcount_table_offset = tables.refcount_table;
  now.refcount_table_clusters = tables.refcount_table_clusters;
  now.snapshot_count = tables.snapshots;
  now.snapshots_offset = tables.snapshot_table;
}

Task<void> HeaderStore::change_features(FeatureChange change) {
  static_assert(offsetof(RawHeader, autoclear_features) ==
                offsetof(RawHeader, incompatible_features) + 16);
  const Mutex::Guard guard = co_await mutex_.lock();
  layout::Header& now = first_cluster_.header;
  const uint64_t incompatible =
      (now.incompatible_features | change.incompatible_set) & ~change.incompatible_cleared;
  const uint64_t autoclear = now.autoclear_features & ~change.autoclear_cleared;
  if (incompatible == now.incompatible_features && autoclear == now.autoclear_features) co_return;
  uint8_t bytes[24];
  store_big_endian<uint64_t>(bytes, incompatible);
  store_big_endian<uint64_t>(bytes + 8, now.compatible_features);
  store_big_endian<uint64_t>(bytes + 16, autoclear);
  co_await write(offsetof(RawHeader, incompatible_features), ConstBytes(bytes));
  now.incompatible_features = incompatible;
  now.autoclear_features = autoclear;
}

Task<void> HeaderStore::mark_if_corrupt() {
  if (!health_->must_be_marked_corrupt() || header().version < 3 || header().is_corrupt()) {
    co_return;
  }
  const FeatureChange corrupt{.incompatible_set = layout::incompatible::kCorrupt};
  co_await change_features(corrupt);
}

}  // namespace byre::qcow2
