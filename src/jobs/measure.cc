// SPDX-License-Identifier: Apache-2.0
#include "jobs/measure.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "open/open.h"

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

// The size of the new image's clusters that contain anything but zeroes, treating the source's
// whole chain as one.
Task<uint64_t> allocated_clusters_size(BlockDevice* source, uint64_t cluster_size,
                                       const Cancellation* cancellation) {
  const uint64_t size = source->size();
  uint64_t allocated = 0;
  for (uint64_t offset = 0; offset < size;) {
    if (cancellation != nullptr) cancellation->check();
    const std::vector<Extent> extents = co_await extents_of(source, offset);
    for (const Extent& extent : extents) {
      const uint64_t end = extent.offset + extent.length;
      if (end <= offset) continue;  // inside a cluster that was already counted
      if (extent.zero || !extent.data) {
        offset = end;
        continue;
      }
      const uint64_t start = align_down(std::max(extent.offset, offset), cluster_size);
      const uint64_t whole_end = align_up(end, cluster_size);
      allocated += whole_end - start;
      offset = whole_end;
    }
  }
  co_return allocated;
}

// The clusters of their tables and bits, and of the directory.
uint64_t bitmaps_size(const qcow2::Image& image, uint64_t cluster_size) {
  uint64_t clusters_size = 0;
  uint64_t directory_size = 0;
  for (const qcow2::layout::BitmapEntry& bitmap : image.bitmaps()) {
    const uint64_t data_clusters = div_ceil(
        qcow2::layout::bitmap_data_size(image.size(), bitmap.granularity_bits), cluster_size);
    clusters_size += data_clusters * cluster_size + align_up(data_clusters * 8, cluster_size);
    directory_size += align_up(sizeof(qcow2::layout::RawBitmapEntry) + bitmap.name.size(), 8);
  }
  return clusters_size + align_up(directory_size, cluster_size);
}

}  // namespace

MeasureReport measure_raw(const BlockDevice* source, uint64_t size) {
  MeasureReport report;
  report.file.required = whole_sectors(source != nullptr ? source->size() : size);
  report.file.fully_allocated = report.file.required;
  return report;
}

Task<MeasureReport> measure_qcow2(BlockDevice* source, uint64_t size, qcow2::CreateOptions options,
                                  const Cancellation* cancellation) {
  MeasureReport report;
  options.size = whole_sectors(source != nullptr ? source->size() : size);
  report.file = qcow2::measure(options, 0);
  if (source == nullptr) co_return report;
  // How much of it the backing file has is unknown: perhaps nothing.
  uint64_t allocated = options.size;
  if (!options.backing_filename) {
    allocated = co_await allocated_clusters_size(source, options.cluster_size, cancellation);
  }
  report.file = qcow2::measure(options, allocated);
  const qcow2::Image* const image = open::as_qcow2(source);
  if (image != nullptr && image->header().version >= 3 && options.version >= 3) {
    report.bitmaps_size = bitmaps_size(*image, options.cluster_size);
  }
  co_return report;
}

}  // namespace byre::jobs
