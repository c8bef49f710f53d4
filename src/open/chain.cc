// SPDX-License-Identifier: Apache-2.0
#include "open/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "block/buffer.h"
#include "open/raw_device.h"
#include "qcow2/padded_read.h"
#include "storage/null_device.h"

namespace byre::open {

namespace {

// Longer chains are refused: each link is an open file, and a read may go through all of them.
constexpr size_t kImagesMax = 1000;

// What QEMU's programs lock of an external data file: its size is not for others to change.
constexpr storage::LockPermissions kLockReadData{storage::kPermissionConsistentRead,
                                                 storage::kPermissionResize};
constexpr storage::LockPermissions kLockWriteData{
    storage::kPermissionConsistentRead | storage::kPermissionWrite | storage::kPermissionResize,
    storage::kPermissionResize};

storage::LockPermissions raw_lock(const ImageOptions& options) {
  if (options.metadata_only) return storage::kLockNothing;
  if (options.writable) return storage::kLockWriteRaw;
  if (options.no_share) return storage::kLockRead;
  return options.no_resize ? kLockReadData : storage::kLockReadRaw;
}

storage::LockPermissions qcow2_lock(const ImageOptions& options) {
  if (options.writable) return storage::kLockWrite;
  return options.metadata_only ? storage::kLockInspect : storage::kLockRead;
}

storage::FileOptions file_options(const ImageOptions& options) {
  storage::FileOptions result;
  result.writable = options.writable;
  result.cache = options.cache;
  result.io = options.io;
  result.force_share = options.force_share;
  if (!options.format) {
    result.lock = storage::kLockNothing;  // until the probe has said what it is
  } else {
    result.lock = *options.format == "raw" ? raw_lock(options) : qcow2_lock(options);
  }
  return result;
}

void check_format(const std::optional<std::string>& format) {
  if (!format || *format == "raw" || *format == "qcow2") return;
  throw Error(ErrorKind::kUnsupported, EINVAL, fmt::format("Unknown driver '{}'", *format),
              "byre knows the formats raw and qcow2");
}

// The path that a name stands for. Throws for the protocols that byre does not speak.
std::string path_of(const std::string& filename) {
  const std::optional<std::string_view> protocol = protocol_of(filename);
  if (!protocol) return filename;
  if (*protocol == "file" || *protocol == "host_device") {
    return filename.substr(protocol->size() + 1);
  }
  const char* const hint = *protocol == "json"
                               ? "byre does not take image descriptions in JSON yet"
                               : "a file whose name has a ':' is opened as './name'";
  throw Error(ErrorKind::kUnsupported, EINVAL, fmt::format("Unknown protocol '{}'", *protocol),
              hint);
}

bool is_null_device(const std::string& filename) {
  return filename.starts_with("null-co:");
}

std::unique_ptr<BlockDevice> null_device(const std::string& filename, const ImageOptions& options) {
  // Zeroes, where QEMU leaves the reader's memory as it was: nobody shall see old memory.
  auto null = std::make_unique<storage::NullDevice>(
      storage::NullOptions{.read_zeroes = true, .writable = options.writable}, filename);
  return std::make_unique<RawDevice>(std::move(null));
}

}  // namespace

Task<std::unique_ptr<BlockDevice>> Chain::open(std::string filename) {
  return open_link(std::move(filename), options_);
}

Task<std::unique_ptr<BlockDevice>> Chain::open_on(std::unique_ptr<storage::FileDevice> file) {
  check_format(options_.format);
  return open_format(std::move(file), options_);
}

Task<std::unique_ptr<BlockDevice>> Chain::open_link(std::string filename, ImageOptions options) {
  check_format(options.format);
  if (is_null_device(filename)) co_return null_device(filename, options);
  std::string path = path_of(filename);
  std::unique_ptr<storage::FileDevice> file =
      co_await storage::FileDevice::open(std::move(path), file_options(options));
  co_return co_await open_format(std::move(file), std::move(options));
}

Task<std::unique_ptr<BlockDevice>> Chain::open_format(std::unique_ptr<storage::FileDevice> file,
                                                      ImageOptions options) {
  check_new(*file);
  images_.push_back(file->identity());
  if (!options.format) {
    Buffer first(kProbeSize);
    const IoVector to(first.bytes());
    co_await qcow2::padded_read(file.get(), 0, to);
    options.format = probe_format(first.bytes());
    check_format(options.format);
  }
  if (*options.format == "qcow2") {
    file->set_lock(qcow2_lock(options));
    co_return co_await open_qcow2(std::move(file), std::move(options));
  }
  file->set_lock(raw_lock(options));
  co_return std::make_unique<RawDevice>(std::move(file));
}

Task<std::unique_ptr<BlockDevice>> Chain::open_qcow2(std::unique_ptr<storage::FileDevice> file,
                                                     ImageOptions options) {
  qcow2::OpenOptions open_options;
  open_options.writable = options.writable;
  open_options.for_check = options.for_check;
  open_options.metadata_only = options.metadata_only;
  open_options.compression_level = options.compression_level;
  open_options.on_warning = options.on_warning;
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(file), std::move(open_options));
  if (image->has_external_data_file() && !options.metadata_only) {
    std::unique_ptr<BlockDevice> data_file = co_await open_data_file(image.get(), options);
    image->set_data_file(std::move(data_file));
  }
  if (!image->backing_filename().empty() && !options.no_backing) {
    std::unique_ptr<BlockDevice> backing = co_await open_backing(image.get(), options);
    image->set_backing(std::move(backing));
  }
  co_return image;
}

Task<std::unique_ptr<BlockDevice>> Chain::open_data_file(const qcow2::Image* image,
                                                         const ImageOptions& options) {
  const std::string name = image->data_filename();
  if (name.empty()) {
    const bool is_there = image->extensions().data_file_name.has_value();
    throw Error(
        ErrorKind::kCorrupt, EINVAL,
        is_there ? "The 'file' block driver requires a file name"
                 : "'data-file' is required for this image",
        fmt::format("'{}' has an external data file, but does not name it", image->filename()));
  }
  if (!options.allow_data_file) {
    throw Error(
        ErrorKind::kPermission, EPERM,
        fmt::format("External data file '{}' may not be opened", name),
        fmt::format("'{}' names it, and images may not name other files here", image->filename()));
  }
  std::string path = path_of(resolve_relative(image->filename(), name));
  storage::FileOptions data_options = file_options(options);
  data_options.lock = options.writable ? kLockWriteData : kLockReadData;
  std::unique_ptr<storage::FileDevice> file =
      co_await storage::FileDevice::open(std::move(path), std::move(data_options));
  check_new(*file);
  co_return file;
}

Task<std::unique_ptr<BlockDevice>> Chain::open_backing(const qcow2::Image* image,
                                                       const ImageOptions& options) {
  if (!options.allow_backing) {
    throw Error(
        ErrorKind::kPermission, EPERM,
        fmt::format("Backing file '{}' may not be opened", image->backing_filename()),
        fmt::format("'{}' names it, and images may not name other files here", image->filename()));
  }
  ImageOptions below = options;
  below.writable = false;
  below.for_check = false;
  below.snapshot = std::nullopt;
  below.format = std::nullopt;
  if (!image->backing_format().empty()) below.format = image->backing_format();
  std::string name = resolve_relative(image->filename(), image->backing_filename());
  std::optional<Error> failure;
  try {
    co_return co_await open_link(std::move(name), std::move(below));
  } catch (const Error& error) {
    failure = error.with_prefix("Could not open backing file");
  }
  throw *failure;
}

void Chain::check_new(const storage::FileDevice& file) const {
  if (std::ranges::find(images_, file.identity()) != images_.end()) {
    throw Error(ErrorKind::kCorrupt, ELOOP,
                fmt::format("Image '{}' refers to itself", file.filename()),
                "the chain of backing and data files comes back to a file that is in it");
  }
  if (images_.size() >= kImagesMax) {
    throw Error(
        ErrorKind::kCorrupt, ELOOP,
        fmt::format("Image '{}' is below more than {} others", file.filename(), kImagesMax - 1));
  }
}

}  // namespace byre::open
