// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <exception>

#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "qcow2/space/preallocation_probe.h"

// What `qemu-img map` shows of an image, by QEMU's rules:
// - Zero and data are those of the layer that decides; unallocated bytes without a layer below are
//   zero and not present, at the depth of the last layer whose size includes them.
// - Bytes past the end of a shorter backing file are zero at the overlay's depth.
// - In an image that looks preallocated, holes of the file under data clusters are zero.
namespace byre::qcow2 {

namespace {

// At most this many extents are returned; the caller asks again.
constexpr size_t kExtentsMax = 4096;

// Each compressed cluster is an extent of its own, because it is a unit of reading: if one of
// several is damaged, the extent identifies it.
bool continues(const Extent& extent, const Extent& next) {
  if (next.compressed) return false;
  return extent.present == next.present && extent.data == next.data && extent.zero == next.zero &&
         !extent.compressed && extent.depth == next.depth && extent.file == next.file &&
         (!extent.host_offset || *extent.host_offset + extent.length == *next.host_offset);
}

void append(std::vector<Extent>* extents, const Extent& next) {
  if (!extents->empty() && continues(extents->back(), next)) {
    extents->back().length += next.length;
  } else {
    extents->push_back(next);
  }
}

// The state of the run in this layer.
Extent extent_of(const GuestRun& run, BlockDevice* data_device) {
  Extent extent;
  extent.offset = run.guest_offset.value();
  extent.length = run.length;
  extent.present = run.kind != RunKind::kUnallocated;
  extent.data = run.kind == RunKind::kData || run.kind == RunKind::kCompressed;
  extent.zero = run.kind == RunKind::kZeroPlain || run.kind == RunKind::kZeroAllocated;
  extent.compressed = run.kind == RunKind::kCompressed;
  if (run.has_host_offset) {
    extent.host_offset = run.host_offset.value();
    extent.file = data_device;
  }
  return extent;
}

// Appends `extent`, which is in the data device at its host offset, split by what the device knows
// about zeroes there.
Task<void> append_with_holes(std::vector<Extent>* extents, Extent extent) {
  BlockDevice* const file = extent.file;
  const uint64_t end = extent.offset + extent.length;
  while (extent.offset < end) {
    const uint64_t place = *extent.host_offset;
    extent.length = end - extent.offset;
    extent.zero = true;
    if (place < file->size()) {
      const uint64_t length = std::min(extent.length, file->size() - place);
      const std::vector<Extent> below = co_await file->extents(place, length, ExtentScope::kLayer);
      extent.zero = below.front().zero;
      // A hole at the end of the file continues past it.
      if (!extent.zero || below.front().length < length) extent.length = below.front().length;
    }
    append(extents, extent);
    extent.offset += extent.length;
    *extent.host_offset += extent.length;
  }
}

Task<void> append_backing(std::vector<Extent>* extents, BlockDevice* backing, const GuestRun& run) {
  const uint64_t offset = run.guest_offset.value();
  const std::vector<Extent> below =
      co_await backing->extents(offset, run.length, ExtentScope::kChain);
  for (Extent extent : below) {
    ++extent.depth;
    append(extents, extent);
  }
}

// The state of [offset, end), or of as much of it as fits into one result.
Task<void> collect(ImageParts* parts, uint64_t offset, uint64_t end, ExtentScope scope,
                   std::vector<Extent>* result) {
  BlockDevice* const backing = parts->context.backing();
  const uint64_t backing_size = backing != nullptr ? backing->size() : 0;
  while (offset < end && result->size() < kExtentsMax) {
    // The caller may be content with the first extents.
    const Lookup lookup = result->empty() ? Lookup::kNow : Lookup::kAhead;
    std::optional<GuestRun> run =
        parts->mapping.find_run(GuestOffset(offset), end - offset, lookup);
    if (!run) run = co_await parts->mapping.run_at(GuestOffset(offset), end - offset, lookup);
    Extent extent = extent_of(*run, &parts->context.data_device());
    if (run->kind == RunKind::kUnallocated && offset < backing_size) {
      run->length = extent.length = std::min(extent.length, backing_size - offset);
      if (scope == ExtentScope::kChain) {
        co_await append_backing(result, backing, *run);
        offset = result->back().offset + result->back().length;
        continue;
      }
    } else if (run->kind == RunKind::kUnallocated) {
      extent.zero = true;
    }
    offset += extent.length;
    if (run->kind == RunKind::kData && !parts->is_preallocated) {
      parts->is_preallocated =
          co_await looks_preallocated(&parts->context, &parts->tables.refcount_cache);
    }
    if (run->kind == RunKind::kData && *parts->is_preallocated) {
      co_await append_with_holes(result, extent);
    } else {
      append(result, extent);
    }
  }
}

}  // namespace

Task<std::vector<Extent>> Image::do_extents(uint64_t offset, uint64_t length, ExtentScope scope) {
  Context& context = parts_->context;
  context.health.check_not_corrupt();
  RangeLock::Guard guard;
  if (context.health.is_writable()) {
    guard = co_await context.guest_lock.acquire(offset, length, RangeLock::Mode::kShared);
  }
  std::vector<Extent> result;
  std::exception_ptr error;
  try {
    co_await collect(parts_.get(), offset, offset + length, scope, &result);
  } catch (const Error&) {
    error = std::current_exception();
  }
  // The extents before the error are valid; a request that continues there gets the error.
  if (error && result.empty()) co_await context.end_failed_request(error);
  try {
    co_await context.header_store.mark_if_corrupt();
  } catch (const Error&) {
    // The result is valid all the same; the next request is refused.
  }
  co_return result;
}

}  // namespace byre::qcow2
