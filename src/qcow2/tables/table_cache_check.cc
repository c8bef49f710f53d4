// SPDX-License-Identifier: Apache-2.0
#include "base/assert.h"
#include "base/checked.h"
#include "qcow2/tables/table_cache.h"
#include "qcow2/tables/table_cache_entry.h"

namespace byre::qcow2 {

void TableCache::check() const {
  uint64_t listed = 0;
  uint64_t memory = 0;
  uint64_t dirty = 0;
  const Entry* newer = nullptr;
  for (const Entry* entry = newest_; entry != nullptr; newer = entry, entry = entry->older) {
    BYRE_ASSERT(entry->newer == newer);
    BYRE_ASSERT(!entry->removed && find_entry(entry->offset) == entry);
    BYRE_ASSERT(is_aligned(entry->offset, options_.slice_size));
    // A slice that is being read is pinned by the reader, and others wait for that alone.
    BYRE_ASSERT(entry->loaded || (entry->pins > 0 && !entry->dirty));
    BYRE_ASSERT(!entry->loaded || entry->waiting.is_empty());
    BYRE_ASSERT(entry->packed.has_value() == (entry->buffer.size() == 0));
    ++listed;
    memory += memory_of(*entry);
    dirty += entry->dirty ? 1 : 0;
  }
  BYRE_ASSERT(oldest_ == newer);
  BYRE_ASSERT(listed == entries_.size());
  BYRE_ASSERT(memory == memory_);
  BYRE_ASSERT(dirty == dirty_count_);
  BYRE_ASSERT(dependencies_satisfied_ <= dependency_changes_);
  // No rule is forgotten before it is fulfilled.
  BYRE_ASSERT((depends_on_ == nullptr && !flush_needed_) ||
              dependencies_satisfied_ < dependency_changes_);
}

}  // namespace byre::qcow2
