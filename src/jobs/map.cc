// SPDX-License-Identifier: Apache-2.0
#include "jobs/map.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "block/close_after.h"

namespace byre::jobs {
namespace {

// Whether `next` continues `run`, in the same state and contiguous with it.
bool continues(const Extent& run, const Extent& next) {
  if (run.present != next.present || run.data != next.data || run.zero != next.zero ||
      run.compressed != next.compressed || run.depth != next.depth) {
    return false;
  }
  if (run.host_offset.has_value() != next.host_offset.has_value()) return false;
  if (!run.host_offset) return true;
  return run.file == next.file && *run.host_offset + run.length == *next.host_offset;
}

Task<std::vector<Extent>> extents_of(BlockDevice* device, uint64_t offset, uint64_t length) {
  std::optional<Error> failure;
  try {
    co_return co_await device->extents(offset, length, ExtentScope::kChain);
  } catch (const Error& error) {
    failure = error.with_prefix("Could not read file metadata");
  }
  throw *failure;
}

Task<void> walk(BlockDevice* device, const MapJob* job) {
  const uint64_t size = device->size();
  const uint64_t wanted = job->max_length.value_or(size);
  const uint64_t start = job->start_offset;
  const uint64_t end = start < size ? start + std::min(wanted, size - start) : start;
  Extent run;
  run.offset = start;
  while (run.offset + run.length < end) {
    if (job->cancellation != nullptr) job->cancellation->check();
    const uint64_t offset = run.offset + run.length;
    const std::vector<Extent> extents = co_await extents_of(device, offset, end - offset);
    for (const Extent& extent : extents) {
      if (run.length > 0 && continues(run, extent)) {
        run.length += extent.length;
        continue;
      }
      if (run.length > 0) job->on_extent(run);
      run = extent;
    }
  }
  job->on_extent(run);
}

}  // namespace

Task<void> map(MapJob job) {
  std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, job.image);
  std::exception_ptr error;
  try {
    if (job.on_open) job.on_open();
    co_await walk(device.get(), &job);
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_after(device.get(), error);
}

}  // namespace byre::jobs
