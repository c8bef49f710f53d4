// SPDX-License-Identifier: Apache-2.0
// FileDevice::resize.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/units.h"
#include "block/fixed_size.h"
#include "byre/error.h"
#include "storage/file_device.h"
#include "storage/preallocation.h"

namespace byre::storage {

namespace {

// Freeing more space than this may take a while.
constexpr uint64_t kQuickShrinkMax = 64 * kMiB;

}  // namespace

void FileDevice::check_resize(uint64_t new_size, Preallocation preallocation) const {
  if (is_host_device_) {
    if (preallocation != Preallocation::kOff) throw preallocation_on_device(*this, preallocation);
    if (new_size > size_) throw device_too_small(*this, new_size);
    return;
  }
  check_file_preallocation(*this, new_size, preallocation);
  if (new_size <= kSizeMax) return;
  throw Error(ErrorKind::kNoSpace, EFBIG,
              ErrorData{.code = "file-size-too-large",
                        .field = "size",
                        .value = new_size,
                        .bound = kSizeMax,
                        .file = filename_},
              fmt::format("the new size is {}; at most {} is possible", new_size, kSizeMax));
}

Task<void> FileDevice::do_resize(uint64_t new_size, Preallocation preallocation) {
  check_resize(new_size, preallocation);
  if (is_host_device_) co_return;
  const uint64_t old_size = size_;
  if (preallocation == Preallocation::kOff) {
    co_await set_size(new_size);
    co_return;
  }
  if (new_size == old_size) co_return;
  noted_from_ = old_size;
  has_noted_write_ = extending_writes_ > 0;
  const bool is_full = preallocation == Preallocation::kFull;
  int error = EOPNOTSUPP;
  if (!is_full) {
    const RangeLock::Guard guard =
        co_await ranges_.acquire(old_size, new_size - old_size, RangeLock::Mode::kShared);
    error = co_await space_.allocate(old_size, new_size - old_size);
    if (error == 0) size_ = std::max(size_, new_size);
  }
  // On a file system that cannot reserve space, it is allocated by writing.
  if (error == EOPNOTSUPP) {
    error = co_await write_zero_bytes(old_size, new_size - old_size, false);
  }
  if (error != 0) co_await cut_back(old_size);
  noted_from_ = UINT64_MAX;
  if (error == 0) {
    ++writes_done_;
    if (is_full) co_await make_durable();
    co_return;
  }
  // QEMU first gives the file its length.
  const bool is_too_long = is_full && error == EFBIG;
  throw Error(Error::kind_of(error), error,
              ErrorData{.code = is_too_long ? Literal("file-not-resized")
                                : is_full   ? Literal("file-zeroes-not-written")
                                            : Literal("file-space-not-reserved"),
                        .field = "size",
                        .value = new_size,
                        .offset = old_size,
                        .file = filename_},
              fmt::format("{} bytes at offset {} cannot be preallocated: {}", new_size - old_size,
                          old_size, errno_text(error)));
}

// The allocated space is released, unless another request has written there meanwhile.
Task<void> FileDevice::cut_back(uint64_t old_size) {
  const RangeLock::Guard guard =
      co_await ranges_.acquire(old_size, UINT64_MAX - old_size, RangeLock::Mode::kExclusive);
  const uint64_t size = has_noted_write_ ? size_ : old_size;
  if (ftruncate(file_.fd(), static_cast<off_t>(size)) != 0) co_return;
  size_ = size;
  space_.note_end(size);
}

Task<void> FileDevice::set_size(uint64_t new_size) {
  const uint64_t from = std::min(size_, new_size);
  const RangeLock::Guard guard =
      co_await ranges_.acquire(from, UINT64_MAX - from, RangeLock::Mode::kExclusive);
  const auto truncate = [fd = file_.fd(), new_size] {
    return ftruncate(fd, static_cast<off_t>(new_size)) == 0 ? 0 : errno;
  };
  int error = 0;
  if (size_ - from > kQuickShrinkMax) {
    error = co_await file_.run_blocking(truncate);
  } else {
    error = truncate();
  }
  if (error != 0) {
    throw Error(
        Error::kind_of(error), error,
        ErrorData{
            .code = "file-not-resized", .field = "size", .value = new_size, .file = filename_},
        fmt::format("it cannot be resized to {} bytes: {}", new_size, errno_text(error)));
  }
  size_ = new_size;
  space_.note_end(new_size);
  ++writes_done_;
}

}  // namespace byre::storage
