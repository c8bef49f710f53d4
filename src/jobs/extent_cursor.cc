// SPDX-License-Identifier: Apache-2.0
#include "jobs/extent_cursor.h"

#include <algorithm>

#include "base/assert.h"

namespace byre::jobs {

Task<Extent> ExtentCursor::at(uint64_t offset) {
  while (index_ < known_.size() && known_[index_].offset + known_[index_].length <= offset) {
    ++index_;
  }
  if (index_ == known_.size()) {
    index_ = 0;
    known_.clear();
    const uint64_t length = std::min(source_.size() - offset, kAskedMax);
    known_ = co_await source_.extents(offset, length, ExtentScope::kChain);
  }
  BYRE_ASSERT(!known_.empty());
  Extent extent = known_[index_];
  const uint64_t skipped = offset - extent.offset;
  BYRE_ASSERT(skipped < extent.length);
  extent.offset = offset;
  extent.length -= skipped;
  if (extent.host_offset.has_value()) *extent.host_offset += skipped;
  co_return extent;
}

}  // namespace byre::jobs
