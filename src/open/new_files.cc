// SPDX-License-Identifier: Apache-2.0
#include "open/new_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/units.h"
#include "block/buffer.h"
#include "open/destination.h"

namespace byre::open {

namespace {

// On XFS, a file that grows a little at a time would be badly fragmented. QEMU's default.
constexpr uint64_t kDefaultExtentSizeHint = kMiB;

void set_nocow(int fd) {
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return;
  flags |= FS_NOCOW_FL;
  ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

// 0, or the errno of a file system that supports such hints and refuses this one.
int set_extent_size_hint(int fd, uint64_t hint) {
  struct fsxattr attributes{};
  if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return 0;
  attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
  attributes.fsx_extsize = static_cast<uint32_t>(hint);
  return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0 ? 0 : errno;
}

// Hints to the file system, which may not support them: no failure is an error. They must be set
// before the file has data.
void apply_hints(const FileHints& hints, const std::string& filename) {
  const int fd = ::open(filename.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    if (hints.nocow) set_nocow(fd);
    const uint64_t hint = hints.extent_size_hint.value_or(kDefaultExtentSizeHint);
    const int error = hint > 0 ? set_extent_size_hint(fd, hint) : 0;
    if (error != 0 && hints.extent_size_hint && hints.on_warning) {
      hints.on_warning("Failed to set extent size hint: " + errno_text(error));
    }
  }
  ::close(fd);
}

}  // namespace

Task<storage::FileDevice*> NewFiles::make(std::string filename) {
  const Destination wanted = destination_of(filename);
  std::error_code ignored;
  const bool was_there = std::filesystem::exists(wanted.path, ignored);
  std::unique_ptr<storage::FileDevice> file = co_await open_destination(wanted, OldContents::kKept);
  if (!was_there) created_->add(wanted.path, file->identity().value());
  devices_.push_back(std::move(file));
  co_return devices_.back().get();
}

bool NewFiles::has_contents() const {
  return std::ranges::any_of(devices_, [](const auto& file) { return file->size() != 0; });
}

Task<void> NewFiles::empty() {
  for (const auto& device : devices_) {
    if (is_device(*device)) continue;
    co_await device->resize(0, Preallocation::kOff);
    apply_hints(hints_, device->filename());
  }
}

Task<void> NewFiles::close() {
  std::exception_ptr error;
  for (const auto& device : devices_) {
    try {
      co_await device->close();
    } catch (const Error&) {
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

bool is_device(const storage::FileDevice& file) {
  return !file.limits().grows;
}

bool can_have_size(const storage::FileDevice& file, uint64_t size) {
  return !is_device(file) || size <= file.size();
}

void check_space(const storage::FileDevice& file, uint64_t needed, Preallocation preallocation) {
  if (preallocation != Preallocation::kFalloc && preallocation != Preallocation::kFull) return;
  struct statvfs space{};
  if (is_device(file) || file.size() == 0) return;
  if (statvfs(file.filename().c_str(), &space) != 0) return;
  const uint64_t blocks = geteuid() == 0 ? space.f_bfree : space.f_bavail;
  const uint64_t free = blocks * space.f_frsize + file.allocated_size().value_or(0);
  if (needed <= free) return;
  throw Error(
      ErrorKind::kNoSpace, ENOSPC,
      ErrorData{.code = preallocation == Preallocation::kFull ? Literal("file-zeroes-not-written")
                                                              : Literal("file-space-not-reserved"),
                .field = "size",
                .value = needed,
                .bound = free,
                .file = file.filename()},
      fmt::format("the new image needs {} bytes, but only {} are available; the file is "
                  "unchanged",
                  needed, free));
}

Task<void> try_size(storage::FileDevice& file, uint64_t size) {
  const uint64_t before = file.size();
  if (is_device(file) || before == 0 || size <= before) co_return;
  co_await file.resize(size, Preallocation::kOff);
  co_await file.resize(before, Preallocation::kOff);
}

Task<void> write_first_block(storage::FileDevice& file) {
  constexpr uint64_t kBlockSize = 4 * kKiB;
  const bool has_block = !is_device(file) && file.size() >= kBlockSize;
  const uint64_t length = std::min(file.size(), has_block ? kBlockSize : kSectorSize);
  const Buffer zeroes = Buffer::zeroed(length);
  const WriteBuffers bytes(zeroes.bytes());
  std::exception_ptr error;
  try {
    co_await file.write(0, bytes);
  } catch (const Error&) {
    error = std::current_exception();
  }
  if (error && is_device(file)) std::rethrow_exception(error);
}

}  // namespace byre::open
