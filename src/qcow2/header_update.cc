// SPDX-License-Identifier: Apache-2.0
#include "qcow2/header_update.h"

#include <cerrno>
#include <cstddef>
#include <exception>
#include <new>

#include "qcow2/image_state.h"
#include "qcow2/layout/header.h"

namespace byre::qcow2 {

using layout::RawHeader;

Task<void> HeaderUpdate::write(size_t offset, ConstBytes bytes) {
  std::exception_ptr error;
  bool is_begun = false;
  try {
    co_await state_->file->flush();
    // What the header is to name may be lost with another flush, which failed. Feature bits name
    // nothing, and one of them tells of damage.
    const bool names_tables = offset != offsetof(RawHeader, incompatible_features);
    if (state_->failure && names_tables) throw Error(*state_->failure);
    const IoVector from(bytes);
    is_begun = true;
    co_await state_->file->write(offset, from);
    co_await state_->file->flush();
    if (state_->failure && names_tables) throw Error(*state_->failure);
  } catch (const Error& failure) {
    state_->write_state->note_failure(failure, true);
    error = std::current_exception();
  } catch (const std::bad_alloc&) {
    const Error failure(ErrorKind::kNoMemory, ENOMEM, "");
    if (is_begun) state_->write_state->note_failure(failure, true);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

Task<void> HeaderUpdate::set_refcount_table(layout::HostOffset offset, uint32_t clusters) {
  static_assert(offsetof(RawHeader, refcount_table_clusters) ==
                offsetof(RawHeader, refcount_table_offset) + 8);
  uint8_t bytes[12];
  store_big_endian<uint64_t>(bytes, offset.value());
  store_big_endian<uint32_t>(bytes + 8, clusters);
  co_await write(offsetof(RawHeader, refcount_table_offset), ConstBytes(bytes));
  state_->header().refcount_table_offset = offset;
  state_->header().refcount_table_clusters = clusters;
}

Task<void> HeaderUpdate::set_l1_table(layout::HostOffset offset, uint32_t entries) {
  static_assert(offsetof(RawHeader, l1_table_offset) == offsetof(RawHeader, l1_size) + 4);
  uint8_t bytes[12];
  store_big_endian<uint32_t>(bytes, entries);
  store_big_endian<uint64_t>(bytes + 4, offset.value());
  co_await write(offsetof(RawHeader, l1_size), ConstBytes(bytes));
  state_->header().l1_size = entries;
  state_->header().l1_table_offset = offset;
}

Task<void> HeaderUpdate::set_size(uint64_t size) {
  uint8_t bytes[8];
  store_big_endian<uint64_t>(bytes, size);
  co_await write(offsetof(RawHeader, size), ConstBytes(bytes));
  state_->header().size = size;
}

Task<void> HeaderUpdate::change_features(FeatureChange change) {
  static_assert(offsetof(RawHeader, autoclear_features) ==
                offsetof(RawHeader, incompatible_features) + 16);
  // One at a time: what another one sets is in the header before this one looks at it.
  const Mutex::Guard guard = co_await state_->features_mutex.lock();
  const layout::Header& now = state_->header();
  const uint64_t incompatible =
      (now.incompatible_features | change.incompatible_set) & ~change.incompatible_cleared;
  const uint64_t autoclear = now.autoclear_features & ~change.autoclear_cleared;
  if (incompatible == now.incompatible_features && autoclear == now.autoclear_features) co_return;
  uint8_t bytes[24];
  store_big_endian<uint64_t>(bytes, incompatible);
  store_big_endian<uint64_t>(bytes + 8, now.compatible_features);
  store_big_endian<uint64_t>(bytes + 16, autoclear);
  co_await write(offsetof(RawHeader, incompatible_features), ConstBytes(bytes));
  state_->header().incompatible_features = incompatible;
  state_->header().autoclear_features = autoclear;
}

}  // namespace byre::qcow2
