// SPDX-License-Identifier: Apache-2.0
#include "qcow2/resize/preallocator.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "async/clean_up.h"
#include "base/checked.h"
#include "byre/error.h"
#include "qcow2/space/allocator.h"
#include "qcow2/write/linker.h"

namespace byre::qcow2 {

using layout::GuestOffset;
using layout::HostOffset;
using layout::L2Entry;

Task<void> Preallocator::run(GuestOffset begin, GuestOffset end, Preallocation preallocation,
                             uint64_t data_file_end) {
  const bool is_raw = context_->header().has_raw_external_data();
  const HostOffset old_end(is_raw ? 0 : data_file_end);
  const layout::Geometry& geometry = context_->geometry;
  const bool has_data_file = context_->header().has_external_data_file();
  // Devices have no such modes, and refuse them.
  if (context_->file().has_fixed_size() && !has_data_file &&
      preallocation != Preallocation::kMetadata) {
    co_await resize_file(context_->file().size(), preallocation);
  }
  GuestOffset at(align_up(begin.value(), geometry.cluster_size()));
  while (at < end) {
    uint64_t count = std::min(geometry.clusters_for(end - at), linker_->clusters_max());
    if (has_data_file) {
      co_await link(at, count, HostOffset(at.value()), old_end);
    } else {
      count = co_await map_new(at, count, preallocation);
    }
    at += count << geometry.cluster_bits();
  }
}

Task<uint64_t> Preallocator::map_new(GuestOffset begin, uint64_t count,
                                     Preallocation preallocation) {
  const ClusterRange range = co_await allocate(count);
  const HostOffset old_end(hides_old_bytes(preallocation) ? context_->file().size() : 0);
  std::exception_ptr error;
  try {
    co_await fill(range, preallocation);
    co_await link(begin, range.count, context_->geometry.offset_of(range.first), old_end);
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) co_return range.count;
  Task<void> freeing = allocator_->free(range);
  co_await clean_up_and_rethrow(std::move(freeing), error);
  co_return 0;
}

// A device that cannot grow may have space only in its holes.
Task<ClusterRange> Preallocator::allocate(uint64_t count) {
  if (context_->file().limits().grows) co_return co_await allocator_->allocate_at_end(count);
  const Allocator::Allocation place = co_await allocator_->allocate(count);
  co_return place.range;
}

// A block device has all of its bytes already, and writing zeroes over them takes long: the entries
// become zero clusters instead, if only the tables are requested and the version has such entries.
bool Preallocator::hides_old_bytes(Preallocation preallocation) const {
  return preallocation == Preallocation::kMetadata && context_->geometry.version() >= 3 &&
         !context_->file().limits().grows;
}

// Bytes that the file already has there may be anything: left by a crash, or a block device's old
// data.
Task<void> Preallocator::fill(ClusterRange range, Preallocation preallocation) {
  if (hides_old_bytes(preallocation)) co_return;
  BlockDevice& file = context_->file();
  const uint64_t begin = context_->geometry.offset_of(range.first).value();
  const uint64_t end = context_->geometry.offset_of(range.end()).value();
  if (begin < file.size()) {
    const bool may_unmap = preallocation == Preallocation::kMetadata;
    const WriteFlags flags = may_unmap ? WriteFlags::kMayUnmap : WriteFlags::kNone;
    co_await file.write_zeroes(begin, std::min(end, file.size()) - begin, flags);
  }
  if (end <= file.size()) co_return;
  co_await resize_file(end, preallocation);
}

Task<void> Preallocator::resize_file(uint64_t size, Preallocation preallocation) {
  BlockDevice& file = context_->file();
  if (preallocation == Preallocation::kMetadata) {
    co_await file.resize(size, Preallocation::kOff);
    co_return;
  }
  std::optional<Error> failure;
  try {
    co_await file.resize(size, preallocation);
  } catch (const Error& error) {
    failure = error.with_prefix("Failed to resize underlying file");
  }
  if (failure) throw *failure;
}

Task<void> Preallocator::link(GuestOffset begin, uint64_t count, HostOffset host,
                              HostOffset old_end) {
  const layout::Geometry& geometry = context_->geometry;
  const Linker::Change change = [&geometry, host, old_end](uint64_t index, const L2Entry&) {
    const HostOffset place = host + (index << geometry.cluster_bits());
    return place < old_end ? L2Entry::zero_allocated(place, true, geometry)
                           : L2Entry::normal(place, true, geometry);
  };
  co_await linker_->change(begin, count, change);
}

}  // namespace byre::qcow2
