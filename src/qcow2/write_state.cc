// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/units.h"
#include "qcow2/bitmap_marks.h"
#include "qcow2/header_update.h"
#include "qcow2/image_state.h"

namespace byre::qcow2 {

namespace {

// So many bytes of freed clusters wait for a flush before a request makes one by itself.
constexpr uint64_t kWaitingBytesMax = 256 * kMiB;
// And so many pieces of clusters that wait to be discarded.
constexpr uint64_t kWaitingDiscardsMax = 64 * 1024;

}  // namespace

WriteState::WriteState(Image::State* image_state)
    : state(image_state),
      refcounts(image_state),
      overlap(image_state, MetadataKinds::of(image_state->options.overlap_check)),
      allocator(image_state, &refcounts),
      discards(image_state),
      linker(image_state, &allocator, &discards),
      writer(image_state, &allocator, &linker),
      zeroing(image_state, &linker, &writer),
      compressed(image_state, &allocator, &linker, &writer),
      flusher(image_state, &allocator, &linker),
      growth(image_state, &allocator, &linker, &flusher, &zeroing),
      shrink(image_state, &allocator, &linker, &flusher, &zeroing) {
  const auto on_failure = [this](const Error& error, TableCache::Failure failure) {
    note_failure(error, failure == TableCache::Failure::kFlush);
  };
  state->l2_cache->set_on_failure(on_failure);
  state->refcount_cache->set_on_failure(on_failure);
  // What a table depends on may be lost with a flush that failed since, though a later one
  // succeeded.
  state->l2_cache->set_before_write([this](uint64_t offset, uint64_t length) {
    if (state->failure) throw Error(*state->failure);
    overlap.check(layout::HostOffset(offset), length, MetadataKind::kActiveL2);
  });
  state->refcount_cache->set_before_write([this](uint64_t offset, uint64_t length) {
    if (state->failure) throw Error(*state->failure);
    overlap.check(layout::HostOffset(offset), length, MetadataKind::kRefcountBlock);
  });
}

// A table that found no room on the disk stays in memory and is written later. Anything else that
// fails leaves the disk in a state that nobody knows.
void WriteState::note_failure(const Error& error, bool in_flush) {
  if (state->failure || (error.kind() == ErrorKind::kNoSpace && !in_flush)) return;
  try {
    state->failure = Error(error.kind(), error.errno_value(), error.message(),
                           fmt::format("'{}' takes no more writes since its metadata could not be "
                                       "written",
                                       state->file->filename()));
  } catch (const std::bad_alloc&) {
    // It counts more than its words.
    state->failure.emplace(error.kind(), error.errno_value(), "");
  }
}

bool WriteState::begin_at_once() {
  state->check_may_write();
  state->check_medium();
  state->clean_caches();
  return is_ready_ && !needs_relief();
}

Task<void> WriteState::begin() {
  if (begin_at_once()) co_return;
  {
    const Mutex::Guard guard = co_await begin_mutex_.lock();
    // A flush may have failed meanwhile, and the host may have forgotten what prepare() wrote.
    state->check_may_write();
    if (!is_ready_) co_await prepare();
    state->check_may_write();
    is_ready_ = true;
  }
  co_await relieve();
}

Task<void> WriteState::relieve() {
  if (needs_relief()) co_await flusher.flush();
}

Task<bool> WriteState::find_room() {
  if (!is_ready_) co_return false;
  bool may_help = allocator.fill_holes();
  if (allocator.waiting_clusters() == 0 && discards.pieces() == 0) co_return may_help;
  try {
    co_await flusher.flush();
    may_help = true;
  } catch (const Error&) {
    // The request's own failure says more; what the flush's means for later ones is noted.
  }
  co_return may_help;
}

Task<void> WriteState::prepare() {
  const layout::Header& header = state->header();
  if (header.is_dirty() && !is_marked_dirty_ && !state->is_repaired) {
    throw Error(ErrorKind::kUnsupported, EIO,
                fmt::format("Image '{}' was not closed properly and must be repaired before it is "
                            "written to",
                            state->file->filename()),
                "its refcounts may be wrong; see the dirty bit of incompatible_features");
  }
  co_await refcounts.load();
  co_await overlap.load(&refcounts);
  if (header.version < 3) co_return;
  is_marked_dirty_ = header.is_dirty();
  co_await mark_bitmaps_in_use(state);
  // What an unknown bit promises cannot be kept up to date, nor what bitmaps do that cannot be
  // marked as in use.
  uint64_t kept = layout::autoclear::kRawExternalData;
  const bool has_bitmaps = state->extensions().bitmaps && !state->has_unreadable_bitmaps;
  if (has_bitmaps) kept |= layout::autoclear::kBitmaps;
  HeaderUpdate::FeatureChange change{.autoclear_cleared = ~kept};
  if (state->uses_lazy_refcounts()) change.incompatible_set = layout::incompatible::kDirty;
  HeaderUpdate update(state);
  co_await update.change_features(change);
  is_marked_dirty_ = header.is_dirty();
}

bool WriteState::needs_relief() const {
  return allocator.waiting_clusters() << state->geometry.cluster_bits() > kWaitingBytesMax ||
         discards.pieces() > kWaitingDiscardsMax;
}

Task<void> WriteState::finish() {
  if (!is_ready_) co_return;
  co_await flusher.flush_all();
  // What the first flush set free is counted down now; and the file ends with a whole sector, as
  // readers of compressed clusters like it.
  const uint64_t file_size = state->file->size();
  if (file_size % kSectorSize != 0 && state->file->limits().grows) {
    co_await state->file->resize(align_up(file_size, kSectorSize), Preallocation::kOff);
  }
  co_await flusher.flush_all();
  if (!is_marked_dirty_) co_return;
  HeaderUpdate update(state);
  const HeaderUpdate::FeatureChange clean{.incompatible_cleared = layout::incompatible::kDirty};
  co_await update.change_features(clean);
}

}  // namespace byre::qcow2
