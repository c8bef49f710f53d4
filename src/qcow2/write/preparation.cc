// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/preparation.h"

#include "qcow2/bitmaps/bitmap_marks.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

bool Preparation::begin_at_once() {
  context_->health.check_may_write();
  context_->health.check_not_corrupt();
  return context_->health.is_prepared() && are_bitmaps_marked_ && !flusher_->is_backlogged();
}

Task<void> Preparation::begin() {
  if (begin_at_once()) co_return;
  {
    const Mutex::Guard guard = co_await mutex_.lock();
    // A flush may have failed meanwhile, and the host may have dropped what prepare() wrote.
    context_->health.check_may_write();
    if (!context_->health.is_prepared()) {
      co_await prepare(Bitmaps::kMarked);
    } else if (!are_bitmaps_marked_) {
      co_await mark_bitmaps();
    }
  }
  co_await flusher_->flush_if_backlogged();
}

Task<void> Preparation::begin_for_tables() {
  context_->health.check_may_write();
  context_->health.check_not_corrupt();
  const Mutex::Guard guard = co_await mutex_.lock();
  context_->health.check_may_write();
  if (!context_->health.is_prepared()) co_await prepare(Bitmaps::kKept);
}

Task<void> Preparation::mark_bitmaps() {
  if (context_->header().version >= 3) {
    co_await mark_bitmaps_in_use(context_, *overlap_, bitmaps_);
  }
  are_bitmaps_marked_ = true;
}

Task<void> Preparation::prepare(Bitmaps bitmaps) {
  context_->health.check_repaired();
  co_await refcounts_->load();
  co_await overlap_->load(*refcounts_);
  if (bitmaps == Bitmaps::kMarked) co_await mark_bitmaps();
  if (context_->header().version >= 3) {
    // Neither what an unknown bit promises nor the contents of bitmaps that cannot be marked as in
    // use can be kept up to date.
    uint64_t kept = layout::autoclear::kRawExternalData;
    if (context_->extensions().bitmaps && !has_unreadable_bitmaps_) {
      kept |= layout::autoclear::kBitmaps;
    }
    HeaderStore::FeatureChange change{.autoclear_cleared = ~kept};
    if (context_->uses_lazy_refcounts()) change.incompatible_set = layout::incompatible::kDirty;
    co_await context_->header_store.change_features(change);
  }
  context_->health.check_may_write();
  context_->health.set_prepared();
}

}  // namespace byre::qcow2
