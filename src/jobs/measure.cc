// SPDX-License-Identifier: Apache-2.0
#include "jobs/measure.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "open/driver.h"

namespace byre::jobs {
namespace {

uint64_t whole_sectors(uint64_t size) {
  return size > UINT64_MAX - kSectorSize ? size : align_up(size, kSectorSize);
}

Task<std::vector<Extent>> extents_of(BlockDevice* source, uint64_t offset) {
  std::optional<Error> failure;
  try {
    co_return co_await source->extents(offset, source->size() - offset, ExtentScope::kChain);
  } catch (const Error& error) {
    failure = error.with_prefix("Unable to get block status");
  }
  throw *failure;
}

// The size of the new image's units of allocation that contain anything but zeroes, treating the
// source's whole chain as one.
Task<uint64_t> allocated_size(BlockDevice* source, uint64_t unit,
                              const Cancellation* cancellation) {
  const uint64_t size = source->size();
  uint64_t allocated = 0;
  for (uint64_t offset = 0; offset < size;) {
    if (cancellation != nullptr) cancellation->check();
    const std::vector<Extent> extents = co_await extents_of(source, offset);
    for (const Extent& extent : extents) {
      const uint64_t end = extent.offset + extent.length;
      if (end <= offset) continue;  // inside a unit that was already counted
      if (extent.zero || !extent.data) {
        offset = end;
        continue;
      }
      const uint64_t start = align_down(std::max(extent.offset, offset), unit);
      const uint64_t whole_end = align_up(end, unit);
      allocated += whole_end - start;
      offset = whole_end;
    }
  }
  co_return allocated;
}

}  // namespace

Task<MeasureReport> measure(BlockDevice* source, uint64_t size, open::CreationOptions options,
                            const Cancellation* cancellation) {
  const open::SizeEstimate estimate = options.driver().creation->measure(options);
  const uint64_t disk_size = whole_sectors(source != nullptr ? source->size() : size);
  MeasureReport report;
  report.file = estimate.file_size(disk_size, 0);
  if (source == nullptr || estimate.allocation_unit == 0) co_return report;
  // How much of it the backing file has is unknown: perhaps nothing.
  uint64_t allocated = disk_size;
  if (!options.get("backing_file")) {
    allocated = co_await allocated_size(source, estimate.allocation_unit, cancellation);
  }
  report.file = estimate.file_size(disk_size, allocated);
  if (estimate.bitmaps_size) report.bitmaps_size = estimate.bitmaps_size(*source);
  co_return report;
}

}  // namespace byre::jobs
