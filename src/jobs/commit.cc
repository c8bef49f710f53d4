// SPDX-License-Identifier: Apache-2.0
#include "jobs/commit.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "block/close_after.h"
#include "byre/error.h"
#include "byre/warning.h"
#include "jobs/convert.h"
#include "jobs/copy_failure.h"

namespace byre::jobs {
namespace {

// The backing file of a device, with the filters on top of it; nullptr: none.
BlockDevice* backing_of(BlockDevice* device) {
  qcow2::Image* const image = open::as_qcow2(device);
  return image == nullptr ? nullptr : image->backing();
}

bool is_named(BlockDevice* device, BlockDevice* overlay, const std::string& name) {
  return device->filename() == name || open::as_qcow2(overlay)->backing_filename() == name;
}

struct Base {
  BlockDevice* device = nullptr;
  uint32_t depth = 0;
};

Base find_base(BlockDevice* top, const CommitJob& job) {
  BlockDevice* overlay = top;
  BlockDevice* device = backing_of(top);
  if (device == nullptr && !job.base) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, ErrorData{.code = "commit-without-backing"},
                "the image has no backing file");
  }
  for (uint32_t depth = 1; device != nullptr; ++depth) {
    if (!job.base || is_named(device, overlay, *job.base)) return {device, depth};
    overlay = device;
    device = backing_of(device);
  }
  throw Error(
      ErrorKind::kNotFound, ENOENT,
      ErrorData{.code = "commit-base-not-in-chain", .name = *job.base, .file = job.filename},
      fmt::format("'{}' is not in the backing chain", *job.base));
}

// Whether the base is writable is determined when it is opened, so its depth must be known first.
Task<uint32_t> depth_of_base(const CommitJob* job) {
  open::ImageOptions options = job->image;
  options.writable = true;
  // Other warnings come when it is opened again.
  options.on_warning = [job](const Warning& warning) {
    const bool is_guess = warning.kind == WarningKind::kFormatGuessed;
    if (is_guess && job->image.on_warning) job->image.on_warning(warning);
  };
  const std::unique_ptr<BlockDevice> top = co_await open::open_image(job->filename, options);
  std::exception_ptr error;
  uint32_t depth = 0;
  try {
    depth = find_base(top.get(), *job).depth;
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_after(top.get(), error);
  co_return depth;
}

Task<void> run(BlockDevice* top, const CommitJob* job) {
  const Base base = find_base(top, *job);
  try {
    co_await copy_into_base(top, base.device, base.depth, job);
  } catch (const Error& error) {
    throw failure_as("commit-copy-failed", error);
  }
  if (job->empties) co_await open::as_qcow2(top)->make_empty();
}

}  // namespace

Task<void> copy_into_base(BlockDevice* top, BlockDevice* base, uint32_t depth,
                          const CommitJob* job) {
  if (base->size() < top->size()) co_await base->resize(top->size(), Preallocation::kOff);
  ConvertOptions options;
  options.layers = depth;
  options.write_order = WriteOrder::kAny;
  options.bytes_per_second = job->bytes_per_second;
  std::vector<BlockDevice*> sources{top};
  co_await convert(std::move(sources), *base, std::move(options), job->progress, job->cancellation);
}

Task<void> commit(CommitJob job) {
  if (job.base) job.empties = false;
  const uint32_t depth = co_await depth_of_base(&job);
  open::ImageOptions options = job.image;
  options.writable = true;
  options.writable_backing = depth;
  const std::unique_ptr<BlockDevice> top = co_await open::open_image(job.filename, options);
  Task<void> work = run(top.get(), &job);
  co_await work_and_close(top.get(), std::move(work));
}

}  // namespace byre::jobs
