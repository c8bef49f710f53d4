// SPDX-License-Identifier: Apache-2.0
// Opening a FileDevice: five system calls for an ordinary file (open, fcntl, statx, and two for
// locks), no thread and no ring.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/units.h"
#include "byre/error.h"
#include "storage/file_device.h"
#include "storage/file_facts.h"
#include "storage/file_space.h"

namespace byre::storage {

namespace {

// If the host does not report what O_DIRECT needs, a page is enough for every existing disk.
constexpr uint32_t kSafeAlignment = 4096;
// A file with no more space than this was probably just created: the first block of a new one is
// allocated, as in QEMU, so that the alignment of O_DIRECT can be probed.
constexpr uint64_t kFreshSpaceMax = 64 * kKiB;

// Closes the descriptor unless its ownership was passed on.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error open_error(int error, const std::string& filename, const FileOptions& options) {
  const std::string what =
      fmt::format("Could not {} '{}'", options.create ? "create" : "open", filename);
  if (error == EINVAL && is_direct(options.cache)) {
    const ErrorData data{.code = "file-without-direct-io",
                         .field = "cache",
                         .text = cache_mode_name(options.cache),
                         .file = filename};
    return Error(ErrorKind::kUnsupported, error, data,
                 fmt::format("the cache mode is {}, which needs O_DIRECT, and the file system does "
                             "not support it; writeback does not need it",
                             data.text))
        .with_prefix(what);
  }
  return Error::from_errno(
      error, what,
      ErrorData{.code = options.create ? Literal("file-not-created") : Literal("file-not-opened"),
                .file = filename});
}

int open_descriptor(const std::string& filename, const FileOptions& options) {
  // Do not block on a pipe without a writer, or on a terminal.
  int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  flags |= options.writable ? O_RDWR : O_RDONLY;
  if (options.create) flags |= O_CREAT;
  if (options.create && options.exclusive) flags |= O_EXCL;
  if (is_direct(options.cache)) flags |= O_DIRECT;
  while (true) {
    const int fd = ::open(filename.c_str(), flags, 0644);
    if (fd >= 0) return fd;
    if (errno != EINTR) throw open_error(errno, filename, options);
  }
}

HostFile::Options io_options(const FileOptions& options, const FileFacts& facts) {
  HostFile::Options result;
  const IoEnvironment environment = io_environment();
  result.backend = options.io == IoBackend::kAuto ? environment.backend : options.io;
  result.inline_io = environment.inline_io;
  if (is_direct(options.cache)) result.direct_alignment = facts.request_alignment;
  if (result.backend == IoBackend::kUring && Ring::of(Loop::current()) == nullptr) {
    const int error = Ring::refusal();
    throw Error::from_errno(error != 0 ? error : ENOTSUP, "io_uring is not available",
                            ErrorData{.code = "file-io-uring-unavailable"});
  }
  return result;
}

uint64_t device_size(int fd, const std::string& filename, bool is_block_device) {
  if (!is_block_device) return 0;  // a character device such as /dev/null has no size
  uint64_t size = 0;
  if (ioctl(fd, BLKGETSIZE64, &size) != 0) {
    throw Error::from_errno(errno, fmt::format("Could not get the size of '{}'", filename),
                            ErrorData{.code = "file-device-size-unknown", .file = filename});
  }
  return size;
}

// An administrator may have set a device read-only, which open() does not report.
void check_device_is_writable(int fd, const std::string& filename) {
  int is_read_only = 0;
  if (ioctl(fd, BLKROGET, &is_read_only) != 0 || is_read_only == 0) return;
  throw Error(ErrorKind::kPermission, EACCES,
              ErrorData{.code = "file-device-read-only", .file = filename},
              "the device has been set read-only");
}

HostDriver checked_driver(std::optional<HostDriver> wanted, mode_t mode,
                          const std::string& filename) {
  const bool is_device = S_ISBLK(mode) || S_ISCHR(mode);
  const HostDriver driver =
      wanted.value_or(is_device ? HostDriver::kHostDevice : HostDriver::kFile);
  if (driver == HostDriver::kFile && !S_ISREG(mode)) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "file-not-regular", .file = filename},
                "it is not a regular file, and the driver is 'file'");
  }
  if (driver != HostDriver::kFile && !is_device) {
    const char* const name = host_driver_name(driver);
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "file-not-device", .name = name, .file = filename},
                fmt::format("it is not a device, and the driver is '{}'", name));
  }
  return driver;
}

// Files that the kernel generates when they are read, in /proc, have no size: they are not empty
// images.
void check_has_end(int fd, const std::string& filename) {
  if (lseek(fd, 0, SEEK_END) >= 0) return;
  const int error = errno;
  throw Error(Error::kind_of(error), error, ErrorData{.code = "file-end-unknown", .file = filename},
              "its end cannot be found: " + errno_text(error));
}

FileFacts look_at(int fd, const std::string& filename, const FileOptions& options) {
  const bool is_direct = storage::is_direct(options.cache);
  struct statx status{};
  const unsigned mask = STATX_BASIC_STATS | (is_direct ? STATX_DIOALIGN : 0);
  if (statx(fd, "", AT_EMPTY_PATH, mask, &status) != 0) {
    throw Error::from_errno(errno, fmt::format("Could not stat '{}'", filename),
                            ErrorData{.code = "file-status-unknown", .file = filename});
  }
  const bool is_block_device = S_ISBLK(status.stx_mode);
  FileFacts facts;
  facts.is_host_device = is_block_device || S_ISCHR(status.stx_mode);
  facts.is_block_device = is_block_device;
  if (is_block_device && options.writable) check_device_is_writable(fd, filename);
  facts.driver = checked_driver(options.driver, status.stx_mode, filename);
  facts.size = facts.is_host_device ? device_size(fd, filename, is_block_device) : status.stx_size;
  if (!facts.is_host_device && facts.size == 0) check_has_end(fd, filename);
  facts.untouched_from = facts.size;
  const bool is_fresh = status.stx_blocks * kSectorSize <= kFreshSpaceMax;
  if (!facts.is_host_device && options.writable && is_fresh) {
    facts.untouched_from = status.stx_blocks == 0 ? 0 : FileSpace::end_of_data(fd, facts.size);
  }
  // A device is the same under any of its names; no file has inode 0.
  facts.identity =
      facts.is_host_device
          ? FileIdentity{makedev(status.stx_rdev_major, status.stx_rdev_minor), 0}
          : FileIdentity{makedev(status.stx_dev_major, status.stx_dev_minor), status.stx_ino};
  int sector_size = 0;
  if (is_block_device && ioctl(fd, BLKSSZGET, &sector_size) == 0 && sector_size > 0) {
    facts.space_alignment = static_cast<uint32_t>(sector_size);
  }
  if (is_direct) {
    const bool is_told =
        (status.stx_mask & STATX_DIOALIGN) != 0 && status.stx_dio_offset_align != 0;
    facts.request_alignment = is_told ? status.stx_dio_offset_align : kSafeAlignment;
    facts.memory_alignment = is_told ? status.stx_dio_mem_align : kSafeAlignment;
  }
  return facts;
}

}  // namespace

const char* host_driver_name(HostDriver driver) {
  switch (driver) {
    case HostDriver::kFile:
      return "file";
    case HostDriver::kHostDevice:
      return "host_device";
    case HostDriver::kHostCdrom:
      return "host_cdrom";
  }
  return "?";
}

Task<std::unique_ptr<FileDevice>> FileDevice::open(std::string filename, FileOptions options) {
  if (filename.empty()) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, ErrorData{.code = "file-name-empty"},
                "the file name is empty");
  }
  Descriptor fd(open_descriptor(filename, options));
  const FileFacts facts = look_at(fd.get(), filename, options);
  // O_NONBLOCK was only for opening; io_uring would take it as a request not to wait for the disk.
  if (fcntl(fd.get(), F_SETFL, is_direct(options.cache) ? O_DIRECT : 0) != 0) {
    throw open_error(errno, filename, options);
  }
  const LockPermissions lock = options.lock.value_or(options.create     ? kLockCreate
                                                     : options.writable ? kLockWrite
                                                                        : kLockRead);
  const HostFile::Options io = io_options(options, facts);
  std::unique_ptr<FileDevice> device(
      new FileDevice(fd.release(), std::move(filename), options, facts, io));
  device->set_lock(lock);
  if (options.truncate && options.writable && !facts.is_host_device) {
    co_await device->resize(0, Preallocation::kOff);
  }
  co_return device;
}

std::unique_ptr<FileDevice> FileDevice::adopt(int fd, std::string filename, FileOptions options) {
  Descriptor owned(fd);
  const FileFacts facts = look_at(fd, filename, options);
  const HostFile::Options io = io_options(options, facts);
  std::unique_ptr<FileDevice> device(
      new FileDevice(owned.release(), std::move(filename), options, facts, io));
  if (options.lock) device->set_lock(*options.lock);
  return device;
}

}  // namespace byre::storage
