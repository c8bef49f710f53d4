// SPDX-License-Identifier: Apache-2.0
#include "open/qcow2_creation.h"

#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "block/fixed_size.h"
#include "byre/error.h"
#include "filter/borrowed_device.h"
#include "open/destination.h"
#include "open/image_creation.h"
#include "open/open.h"
#include "qcow2/image/image.h"
#include "storage/spool.h"

namespace byre::open {

namespace {

void validate(const CreationOptions& from) {
  const qcow2::CreateOptions options = qcow2_create_options(from);
  if (options.data_filename) destination_of(*options.data_filename);
  qcow2::validate(options);
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
  const Literal code = error.data().code;
  if (code == "device-too-small") return error.with_prefix("Could not resize image");
  if (code != "file-zeroes-not-written" && code != "file-space-not-reserved" &&
      code != "device-preallocation") {
    return error;
  }
  const Error inner = has_data_file ? error : error.with_prefix("Failed to resize underlying file");
  return inner.with_prefix("Could not resize image");
}

// Checks for failures that would otherwise occur only once the old contents are gone.
Task<void> check_before_loss(const qcow2::CreateOptions& options, storage::FileDevice& file,
                             storage::FileDevice* data_file) {
  qcow2::validate_header(options);
  storage::FileDevice& large = data_file != nullptr ? *data_file : file;
  const bool is_large = data_file != nullptr || options.preallocation != Preallocation::kOff;
  if (!is_large) co_return;
  const uint64_t size =
      data_file != nullptr ? options.size : qcow2::measure(options, options.size).fully_allocated;
  check_space(large, size, options.preallocation);
  co_await try_size(large, size);
}

Task<void> create(std::string filename, const CreationOptions& from, NewFiles& files) {
  const qcow2::CreateOptions options = qcow2_create_options(from);
  storage::FileDevice* file = co_await files.make(std::move(filename));
  storage::FileDevice* data_file = nullptr;
  if (options.data_filename.has_value()) {
    const std::string& data_filename = *options.data_filename;
    refuse_same_file(file->filename(), destination_of(data_filename).path);
    data_file = co_await files.make(data_filename);
    if (!can_have_size(*data_file, options.size)) {
      throw device_too_small(*data_file, options.size).with_prefix("Could not resize image");
    }
  }
  std::optional<Error> failure;
  try {
    if (files.has_contents()) co_await check_before_loss(options, *file, data_file);
    co_await files.empty();
    co_await qcow2::create(*file, data_file, options);
    if (data_file != nullptr) co_await write_first_block(*data_file);
  } catch (const Error& error) {
    failure = as_resize_error(error, data_file != nullptr);
  }
  if (failure) throw *failure;
}

// Its name is relative to the current directory, as the image has none.
Task<void> open_backing(qcow2::Image& image) {
  if (image.backing_filename().empty()) co_return;
  ImageOptions options;
  if (!image.backing_format().empty()) options.format = image.backing_format();
  std::unique_ptr<BlockDevice> backing =
      co_await open_image(image.backing_filename(), std::move(options));
  image.set_backing(std::move(backing));
}

// The image on the file, which outlives it.
Task<std::unique_ptr<BlockDevice>> create_on(storage::FileDevice& file,
                                             qcow2::CreateOptions options, int compression_level) {
  co_await qcow2::create(file, nullptr, std::move(options));
  qcow2::OpenOptions open_options;
  open_options.writable = true;
  open_options.compression_level = compression_level;
  std::unique_ptr<BlockDevice> borrowed = std::make_unique<filter::BorrowedDevice>(file);
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(borrowed), std::move(open_options));
  co_await open_backing(*image);
  co_return image;
}

Task<UnnamedImage> create_unnamed(std::string name, const CreationOptions& from,
                                  int compression_level) {
  const qcow2::CreateOptions options = qcow2_create_options(from);
  if (options.data_filename) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                "An image with an external data file cannot be written to a pipe");
  }
  qcow2::validate(options);
  UnnamedImage made;
  made.file = co_await storage::unnamed_file(std::move(name));
  made.image = co_await create_on(*made.file, options, compression_level);
  co_return made;
}

}  // namespace

const ImageCreation kQcow2Creation{.options = qcow2_creation_options,
                                   .supports_compression = true,
                                   .removes_failed = true,
                                   .validate = validate,
                                   .create = create,
                                   .create_unnamed = create_unnamed,
                                   .measure = measure_qcow2};

}  // namespace byre::open
