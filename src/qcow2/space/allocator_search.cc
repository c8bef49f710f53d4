// SPDX-License-Identifier: Apache-2.0
// How the allocator finds free clusters.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/units.h"
#include "qcow2/space/allocator.h"

namespace byre::qcow2 {

namespace {

// Bytes of refcounts that a search for a hole examines before it uses new clusters at the end.
constexpr uint64_t kSearchBytes = 64 * kKiB;

}  // namespace

HostCluster Allocator::space_end() const {
  const BlockDevice& file = context_->file();
  const uint64_t bytes_max = file.limits().grows
                                 ? layout::limits::kHostOffsetEnd
                                 : std::min(layout::limits::kHostOffsetEnd, file.size());
  return HostCluster(bytes_max >> context_->geometry.cluster_bits());
}

Error Allocator::no_space() const {
  const uint64_t end = context_->geometry.offset_of(space_end()).value();
  if (context_->file().limits().grows) {
    return Error(ErrorKind::kNoSpace, EFBIG,
                 ErrorData{.code = "qcow2-host-offset-too-high",
                           .offset = end,
                           .file = context_->file().filename()},
                 fmt::format("an L2 entry cannot refer to host offset {:#x}", end));
  }
  const uint64_t size = context_->file().size();
  return Error(
      ErrorKind::kNoSpace, ENOSPC,
      ErrorData{.code = "qcow2-file-full", .value = size, .file = context_->file().filename()},
      fmt::format("the file has {} bytes and cannot grow", size));
}

// The first run of `count` free clusters from *position on, or of at least count_min; an empty
// range if there is none that begins below `limit`, or near it. Moves *position past clusters that
// cannot be used.
Task<ClusterRange> Allocator::find_scanning(HostCluster* position, uint64_t count,
                                            uint64_t count_min, HostCluster limit) {
  const HostCluster space_end = this->space_end();
  limit = std::min(limit, space_end);
  while (*position < limit) {
    const HostCluster at = *position;
    ClusterRange found = co_await refcounts_->find_free(at, count, limit);
    if (found.end() > space_end) {
      found.first = std::min(found.first, space_end);
      found.count = space_end - found.first;
    }
    *position = found.count >= count_min ? found.first : found.end();
    if (found.count >= count_min) co_return found;
  }
  co_return ClusterRange{*position, 0};
}

Task<ClusterRange> Allocator::find_at_end(uint64_t count, uint64_t count_min) {
  if (!end_) end_ = co_await refcounts_->end_of_used();
  HostCluster position = *end_;
  co_return co_await find_scanning(&position, count, count_min, HostCluster(UINT64_MAX));
}

// Looks at all holes, also at those that earlier searches found too small.
Task<ClusterRange> Allocator::find_any_hole(uint64_t count, uint64_t count_min) {
  if (!end_) end_ = co_await refcounts_->end_of_used();
  HostCluster from = first_free_;
  HostCluster* const position = count_min == 1 ? &first_free_ : &from;
  co_return co_await find_scanning(position, count, count_min, *end_);
}

// A run of `count` free clusters, or of at least count_min: a hole if one is found soon, else new
// clusters at the end, else any hole.
Task<ClusterRange> Allocator::find(uint64_t count, uint64_t count_min) {
  ClusterRange found;
  if (!fills_holes_) {
    HostCluster* const position = count == 1 ? &first_free_ : &cursor_;
    *position = std::max(*position, first_free_);
    const uint64_t searched = (kSearchBytes * 8) >> context_->geometry.refcount_order();
    const HostCluster limit = *position + searched;
    found = co_await find_scanning(position, count, count_min, limit);
    if (found.count > 0) co_return found;
    found = co_await find_at_end(count, count_min);
    if (found.count > 0) co_return found;
    found = co_await find_scanning(position, count, count_min, *end_);
    if (found.count > 0) co_return found;
  }
  found = co_await find_any_hole(count, count_min);
  if (found.count > 0) co_return found;
  if (fills_holes_) found = co_await find_at_end(count, count_min);
  if (found.count == 0) throw no_space();
  co_return found;
}

Task<ClusterRange> Allocator::find_free_from(HostCluster position, uint64_t count) {
  if (!end_) end_ = co_await refcounts_->end_of_used();
  const HostCluster start = std::max(position, first_free_);
  const uint64_t searched = (kSearchBytes * 8) >> context_->geometry.refcount_order();
  const HostCluster limit = fills_holes_ ? *end_ : start + searched;
  HostCluster at = start;
  ClusterRange found = co_await find_scanning(&at, count, count, limit);
  if (found.count == 0) {
    HostCluster at_end = std::max(*end_, start);
    found = co_await find_scanning(&at_end, count, count, HostCluster(UINT64_MAX));
  }
  if (found.count == 0) found = co_await find_scanning(&at, count, count, *end_);
  if (found.count == 0) co_return found;
  overlap_->check_allocation(context_->geometry.offset_of(found.first),
                             found.count << context_->geometry.cluster_bits());
  note_written(found);
  co_return found;
}

}  // namespace byre::qcow2
