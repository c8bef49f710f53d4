// SPDX-License-Identifier: Apache-2.0
#include "jobs/create.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "open/new_file.h"
#include "storage/file_device.h"

namespace byre::jobs {
namespace {

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

// On XFS, a file that grows a little at a time would end up in as many pieces. QEMU's default.
constexpr uint64_t kDefaultExtentSizeHint = kMiB;

void set_nocow(int fd) {
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return;
  flags |= FS_NOCOW_FL;
  ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

void set_extent_size_hint(int fd, uint64_t hint) {
  struct fsxattr attributes{};
  if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return;
  attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
  attributes.fsx_extsize = static_cast<uint32_t>(hint);
  ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

// Hints to the file system, which may know nothing of them: no failure is an error. They must be
// given before the file has data.
void apply_hints(const NewImage& image, const std::string& filename) {
  const int fd = ::open(filename.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
    if (image.nocow) set_nocow(fd);
    const uint64_t hint = image.extent_size_hint.value_or(kDefaultExtentSizeHint);
    if (hint > 0) set_extent_size_hint(fd, hint);
  }
  ::close(fd);
}

Task<std::unique_ptr<storage::FileDevice>> make_file(const NewImage& image, std::string filename) {
  std::unique_ptr<storage::FileDevice> file =
      co_await open::open_new_file(open::new_file(filename));
  apply_hints(image, file->filename());
  co_return file;
}

// The files of one new image. What was made is removed by remove() where the image fails.
class NewFiles {
 public:
  explicit NewFiles(const NewImage* image) : image_(*image) {}

  Task<storage::FileDevice*> make(std::string filename) {
    std::unique_ptr<storage::FileDevice> made = co_await make_file(image_, filename);
    devices_.push_back(std::move(made));
    co_return devices_.back().get();
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

  // Only regular files: a block device stays where it is.
  void remove() const {
    for (const auto& device : devices_) {
      if (std::string_view(device->driver()) == "file") ::unlink(device->filename().c_str());
    }
  }

 private:
  const NewImage& image_;
  std::vector<std::unique_ptr<storage::FileDevice>> devices_;
};

// A device that is no regular file keeps its size.
bool can_have_size(const storage::FileDevice& file, uint64_t size) {
  return std::string_view(file.driver()) == "file" || size <= file.size();
}

Error cannot_grow() {
  return invalid("Cannot grow device files");
}

// QEMU looks at these once the file is there.
void check_raw(const NewImage& image) {
  if (image.options.preallocation == Preallocation::kMetadata) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, "Unsupported preallocation mode: metadata");
  }
  if (image.options.size > align_down(INT64_MAX, kSectorSize)) {
    throw invalid("Could not resize file: Invalid argument");
  }
}

Task<void> write_raw(const NewImage& image, NewFiles& files) {
  storage::FileDevice* file = co_await files.make(image.filename);
  check_raw(image);
  const uint64_t size = align_up(image.options.size, kSectorSize);
  std::exception_ptr error;
  if (!can_have_size(*file, size)) throw cannot_grow();
  if (std::string_view(file->driver()) != "file") co_return;
  try {
    co_await file->resize(size, image.options.preallocation);
  } catch (...) {
    // A disk that was filled for nothing is emptied again; the file stays, as QEMU leaves it.
    error = std::current_exception();
  }
  if (!error) co_return;
  co_await file->resize(0, Preallocation::kOff);
  std::rethrow_exception(error);
}

// An image cannot be its own data file: the locks of the two keep each other out. In QEMU's words.
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

// Where space for the guest's data cannot be had, QEMU tells which of its steps came upon it.
Error told_as_resize(const Error& error, bool has_data_file) {
  const std::string& message = error.message();
  if (!message.starts_with("Could not write zeros for preallocation") &&
      !message.starts_with("Could not preallocate new data")) {
    return error;
  }
  const Error inner = has_data_file ? error : error.with_prefix("Failed to resize underlying file");
  return inner.with_prefix("Could not resize image");
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
    co_await qcow2::create(*file, data_file, image.options);
  } catch (const Error& error) {
    failure = told_as_resize(error, data_file != nullptr);
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

Task<void> create_image(NewImage image) {
  validate(image);
  NewFiles files(&image);
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
  if (image.format == "qcow2") files.remove();
  std::rethrow_exception(error);
}

}  // namespace byre::jobs
