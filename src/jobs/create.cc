// SPDX-License-Identifier: Apache-2.0
#include "jobs/create.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "jobs/file_identities.h"
#include "open/new_file.h"
#include "storage/file_device.h"

namespace byre::jobs {
namespace {

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

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
void apply_hints(const NewImage& image, const std::string& filename) {
  const int fd = ::open(filename.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    if (image.nocow) set_nocow(fd);
    const uint64_t hint = image.extent_size_hint.value_or(kDefaultExtentSizeHint);
    const int error = hint > 0 ? set_extent_size_hint(fd, hint) : 0;
    if (error != 0 && image.extent_size_hint && image.on_warning) {
      image.on_warning("Failed to set extent size hint: " + errno_text(error));
    }
  }
  ::close(fd);
}

// A device keeps its size, and its former contents.
bool is_device(const storage::FileDevice& file) {
  return !file.limits().grows;
}

// The files of one new image. An existing one keeps its contents until empty(): everything that can
// be checked is checked before.
class NewFiles {
 public:
  NewFiles(const NewImage* image, MadeFiles* made) : image_(*image), made_(made) {}

  Task<storage::FileDevice*> make(std::string filename) {
    const open::NewFile wanted = open::new_file(filename);
    const bool was_there = identity_of(wanted.path).has_value();
    std::unique_ptr<storage::FileDevice> file =
        co_await open::open_new_file(wanted, open::OldContents::kKept);
    if (!was_there) made_->add(wanted.path, file->identity().value());
    devices_.push_back(std::move(file));
    co_return devices_.back().get();
  }

  // Whether there are contents to lose.
  bool has_contents() const {
    return std::ranges::any_of(devices_, [](const auto& file) { return file->size() != 0; });
  }

  Task<void> empty() {
    for (const auto& device : devices_) {
      if (is_device(*device)) continue;
      co_await device->resize(0, Preallocation::kOff);
      apply_hints(image_, device->filename());
    }
  }

  Task<void> close() {
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

 private:
  const NewImage& image_;
  MadeFiles* const made_;
  std::vector<std::unique_ptr<storage::FileDevice>> devices_;
};

// The space for preallocation must be available once the old contents are gone. The host may know
// better (quotas, compression), so this is only for files that have contents to lose.
void check_space(const storage::FileDevice& file, uint64_t needed, Preallocation preallocation) {
  if (preallocation != Preallocation::kFalloc && preallocation != Preallocation::kFull) return;
  struct statvfs space{};
  if (is_device(file) || file.size() == 0) return;
  if (statvfs(file.filename().c_str(), &space) != 0) return;
  const uint64_t blocks = geteuid() == 0 ? space.f_bfree : space.f_bavail;
  const uint64_t free = blocks * space.f_frsize + file.allocated_size().value_or(0);
  if (needed <= free) return;
  throw Error(ErrorKind::kNoSpace, ENOSPC,
              std::string(preallocation == Preallocation::kFull
                              ? "Could not write zeros for preallocation: "
                              : "Could not preallocate new data: ") +
                  errno_text(ENOSPC),
              "'" + file.filename() + "' is unchanged: the new image needs " +
                  std::to_string(needed) + " bytes, but only " + std::to_string(free) +
                  " are available");
}

// Whether the file system, or a limit, allows a file of this size is tested by extending it. Its
// contents are not touched.
Task<void> try_size(storage::FileDevice& file, uint64_t size) {
  const uint64_t before = file.size();
  if (is_device(file) || before == 0 || size <= before) co_return;
  co_await file.resize(size, Preallocation::kOff);
  co_await file.resize(before, Preallocation::kOff);
}

bool can_have_size(const storage::FileDevice& file, uint64_t size) {
  return !is_device(file) || size <= file.size();
}

Error cannot_grow() {
  return invalid("Cannot grow device files");
}

// A new image's file begins with zeroes. On a device they replace what would be taken for an image,
// or for a partition table; in a file they occupy the first block, which tools examine to learn how
// the file must be aligned: nothing is lost by it if the disk is full. QEMU writes as much.
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

// QEMU checks these once the file exists.
void check_raw(const NewImage& image, const storage::FileDevice& file) {
  if (is_device(file) && image.options.preallocation != Preallocation::kOff) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                std::string("Unsupported preallocation mode '") +
                    preallocation_name(image.options.preallocation) + "'");
  }
  if (image.options.preallocation == Preallocation::kMetadata) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, "Unsupported preallocation mode: metadata");
  }
  if (image.options.size > align_down(INT64_MAX, kSectorSize)) {
    throw invalid("Could not resize file: Invalid argument");
  }
}

Task<void> write_raw(const NewImage& image, NewFiles& files) {
  storage::FileDevice* file = co_await files.make(image.filename);
  check_raw(image, *file);
  const uint64_t size = align_up(image.options.size, kSectorSize);
  std::exception_ptr error;
  if (!can_have_size(*file, size)) throw cannot_grow();
  check_space(*file, size, image.options.preallocation);
  co_await try_size(*file, size);
  co_await files.empty();
  try {
    if (!is_device(*file)) co_await file->resize(size, image.options.preallocation);
    co_await write_first_block(*file);
  } catch (...) {
    // A disk that was filled in vain is emptied again; the file stays, as QEMU leaves it.
    error = std::current_exception();
  }
  if (!error) co_return;
  if (!is_device(*file)) co_await file->resize(0, Preallocation::kOff);
  std::rethrow_exception(error);
}

// An image cannot be its own data file: the locks of the two exclude each other. With QEMU's
// message.
void refuse_same_file(const std::string& filename, const std::string& data_filename) {
  struct stat image{};
  struct stat data{};
  if (stat(filename.c_str(), &image) != 0 || stat(data_filename.c_str(), &data) != 0) return;
  if (image.st_dev != data.st_dev || image.st_ino != data.st_ino) return;
  throw Error(ErrorKind::kLocked, EAGAIN,
              "Failed to get shared \"resize\" lock\nIs another process using the image [" +
                  data_filename + "]?",
              "the external data file is the image itself");
}

// If space for the guest's data cannot be allocated, QEMU's message names the step that failed.
Error as_resize_error(const Error& error, bool has_data_file) {
  const std::string& message = error.message();
  if (message == "Cannot grow device files") return error.with_prefix("Could not resize image");
  if (!message.starts_with("Could not write zeros for preallocation") &&
      !message.starts_with("Could not preallocate new data") &&
      !message.starts_with("Preallocation mode '")) {
    return error;
  }
  const Error inner = has_data_file ? error : error.with_prefix("Failed to resize underlying file");
  return inner.with_prefix("Could not resize image");
}

// Checks for failures that would otherwise occur only once the old contents are gone.
Task<void> check_before_loss(const NewImage& image, storage::FileDevice& file,
                             storage::FileDevice* data_file) {
  const qcow2::CreateOptions& options = image.options;
  qcow2::validate_header(options);
  storage::FileDevice& large = data_file != nullptr ? *data_file : file;
  const bool is_large = data_file != nullptr || options.preallocation != Preallocation::kOff;
  if (!is_large) co_return;
  const uint64_t size =
      data_file != nullptr ? options.size : qcow2::measure(options, options.size).fully_allocated;
  check_space(large, size, options.preallocation);
  co_await try_size(large, size);
}

Task<void> write_qcow2(const NewImage& image, NewFiles& files) {
  storage::FileDevice* file = co_await files.make(image.filename);
  storage::FileDevice* data_file = nullptr;
  if (image.options.data_filename.has_value()) {
    const std::string& data_filename = *image.options.data_filename;
    refuse_same_file(file->filename(), open::new_file(data_filename).path);
    data_file = co_await files.make(data_filename);
    if (!can_have_size(*data_file, image.options.size)) {
      throw cannot_grow().with_prefix("Could not resize image");
    }
  }
  std::optional<Error> failure;
  try {
    if (files.has_contents()) co_await check_before_loss(image, *file, data_file);
    co_await files.empty();
    co_await qcow2::create(*file, data_file, image.options);
    if (data_file != nullptr) co_await write_first_block(*data_file);
  } catch (const Error& error) {
    failure = as_resize_error(error, data_file != nullptr);
  }
  if (failure) throw *failure;
}

}  // namespace

void require_file(const std::string& filename) {
  open::new_file(filename);
}

void validate(const NewImage& image) {
  if (image.format == "qcow2") {
    if (image.options.data_filename) require_file(*image.options.data_filename);
    qcow2::validate(image.options);
  }
  if (image.extent_size_hint.value_or(0) > UINT32_MAX) {
    throw invalid("Extent size hint is too large");
  }
}

Task<void> create_image(NewImage image, MadeFiles* made) {
  validate(image);
  MadeFiles own;
  if (made == nullptr) made = &own;
  NewFiles files(&image, made);
  std::exception_ptr error;
  try {
    if (image.format == "qcow2") {
      co_await write_qcow2(image, files);
    } else {
      co_await write_raw(image, files);
    }
  } catch (...) {
    error = std::current_exception();
  }
  try {
    co_await files.close();
  } catch (...) {
    if (!error) error = std::current_exception();
  }
  if (!error) co_return;
  if (image.format == "qcow2") made->remove();
  std::rethrow_exception(error);
}

}  // namespace byre::jobs
