// SPDX-License-Identifier: Apache-2.0
#include "qcow2/preallocator.h"

#include <algorithm>
#include <exception>

#include "base/checked.h"
#include "qcow2/allocator.h"
#include "qcow2/image_state.h"
#include "qcow2/linker.h"

namespace byre::qcow2 {

using layout::GuestOffset;
using layout::HostOffset;
using layout::L2Entry;

Task<void> Preallocator::run(GuestOffset begin, GuestOffset end, Preallocation preallocation) {
  const layout::Geometry& geometry = state_->geometry;
  GuestOffset at(align_up(begin.value(), geometry.cluster_size()));
  while (at < end) {
    const uint64_t count = std::min(geometry.clusters_for(end - at), linker_->clusters_max());
    if (state_->has_data_file()) {
      co_await link(at, count, HostOffset(at.value()));
    } else {
      co_await map_new(at, count, preallocation);
    }
    at += count << geometry.cluster_bits();
  }
}

Task<void> Preallocator::map_new(GuestOffset begin, uint64_t count, Preallocation preallocation) {
  const ClusterRange range = co_await allocator_->allocate_at_end(count);
  std::exception_ptr error;
  try {
    co_await fill(range, preallocation);
    co_await link(begin, count, state_->geometry.offset_of(range.first));
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) co_return;
  co_await allocator_->free_now(range);
  std::rethrow_exception(error);
}

// What the file has there already may be anything: what a crash left, or a block device's bytes.
Task<void> Preallocator::fill(ClusterRange range, Preallocation preallocation) {
  BlockDevice& file = *state_->file;
  const uint64_t begin = state_->geometry.offset_of(range.first).value();
  const uint64_t end = state_->geometry.offset_of(range.end()).value();
  if (begin < file.size()) {
    const bool may_unmap = preallocation == Preallocation::kMetadata;
    const WriteFlags flags = may_unmap ? WriteFlags::kMayUnmap : WriteFlags::kNone;
    co_await file.write_zeroes(begin, std::min(end, file.size()) - begin, flags);
  }
  if (end <= file.size()) co_return;
  const bool is_sparse = preallocation == Preallocation::kMetadata;
  co_await file.resize(end, is_sparse ? Preallocation::kOff : preallocation);
}

Task<void> Preallocator::link(GuestOffset begin, uint64_t count, HostOffset host) {
  const layout::Geometry& geometry = state_->geometry;
  const Linker::Change change = [&geometry, host](uint64_t index, const L2Entry&) {
    return L2Entry::normal(host + (index << geometry.cluster_bits()), true, geometry);
  };
  co_await linker_->change(begin, count, change);
}

}  // namespace byre::qcow2
