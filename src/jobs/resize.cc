// SPDX-License-Identifier: Apache-2.0
#include "jobs/resize.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "block/close_after.h"
#include "byre/error.h"

namespace byre::jobs {
namespace {

// Nothing if it is not a size.
std::optional<uint64_t> new_size(const SizeChange& change, uint64_t size) {
  std::optional<uint64_t> result = change.size;
  if (change.kind == SizeChange::Kind::kGrow) result = checked_add(size, change.size);
  if (change.kind == SizeChange::Kind::kShrink) {
    result = change.size < size ? std::optional(size - change.size) : std::nullopt;
  }
  if (!result || *result == 0 || *result > BlockDevice::kSizeMax) return std::nullopt;
  return result;
}

uint64_t checked_size(const ResizeJob& job, const BlockDevice& device) {
  const uint64_t old_size = device.size();
  const std::optional<uint64_t> size = new_size(job.change, old_size);
  const bool preallocates = job.preallocation != Preallocation::kOff;
  if (!size) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, ErrorData{.code = "resize-size-impossible"},
                "the new size would be 0, negative, or more than a file can have");
  }
  if (*size <= old_size && preallocates) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "resize-preallocates-nothing", .value = *size, .bound = old_size},
                fmt::format("the new size is {}, not more than now, and preallocation is only for "
                            "growing",
                            *size));
  }
  if (*size < old_size && !job.may_shrink) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = kShrinkNotAllowed, .value = *size, .bound = old_size},
                fmt::format("the new size is {}, less than the size now, {}", *size, old_size));
  }
  if (*size != old_size && device.has_fixed_size() && !preallocates) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "resize-of-device", .file = job.filename},
                "it is a device, whose size cannot be changed");
  }
  return *size;
}

Error with_state(const Error& error, uint64_t size) {
  std::string hint = fmt::format("The size of the disk is {} bytes, as before.", size);
  if (!error.hint().empty()) hint = error.hint() + "\n" + hint;
  return error.with_hint(hint);
}

// An external data file gets the length of the disk, if it is not a disk itself.
Task<void> fit_data_file(BlockDevice& device) {
  qcow2::Image* const image = open::as_qcow2(&device);
  if (image == nullptr) co_return;
  for (const ChildDevice& child : image->children()) {
    const bool is_data_file = std::string_view(child.name) == "data-file";
    if (!is_data_file || child.device->size() == image->size()) continue;
    if (child.device->has_fixed_size()) continue;
    co_await child.device->resize(image->size(), Preallocation::kOff);
  }
}

}  // namespace

Task<void> resize_open(BlockDevice* device, uint64_t size, Preallocation preallocation) {
  co_await device->resize(size, preallocation);
  co_await device->flush();
  co_await fit_data_file(*device);
}

namespace {

Task<void> resize_device(const ResizeJob& job, BlockDevice& device) {
  const uint64_t size = checked_size(job, device);
  const uint64_t old_size = device.size();
  std::optional<Error> failure;
  try {
    co_await resize_open(&device, size, job.preallocation);
  } catch (const Error& error) {
    failure = device.size() == old_size ? with_state(error, old_size) : error;
  }
  if (failure) throw *failure;
}

}  // namespace

Task<void> resize(ResizeJob job) {
  job.image.writable = true;
  std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, job.image);
  Task<void> work = resize_device(job, *device);
  co_await work_and_close(device.get(), std::move(work));
}

}  // namespace byre::jobs
