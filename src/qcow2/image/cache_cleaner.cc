// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/cache_cleaner.h"

namespace byre::qcow2 {

void CacheCleaner::clean_at(Loop::Clock::time_point now) {
  if (next_ && now < *next_) return;
  if (next_) {
    tables_->l2_cache.evict_unused();
    tables_->refcount_cache.evict_unused();
  }
  next_ = now + interval_;
}

}  // namespace byre::qcow2
