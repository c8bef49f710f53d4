// SPDX-License-Identifier: Apache-2.0
#include "jobs/piped_image.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "filter/borrowed_device.h"
#include "open/open.h"
#include "storage/pipe_sink.h"
#include "storage/spool.h"

namespace byre::jobs {
namespace {

constexpr uint64_t kBufferSize = 2 * kMiB;

// Its name is relative to the current directory, as the image has none.
Task<void> open_backing(qcow2::Image& image) {
  if (image.backing_filename().empty()) co_return;
  open::ImageOptions options;
  if (!image.backing_format().empty()) options.format = image.backing_format();
  std::unique_ptr<BlockDevice> backing =
      co_await open::open_image(image.backing_filename(), std::move(options));
  image.set_backing(std::move(backing));
}

}  // namespace

BlockDevice* PipedImage::make_raw(uint64_t size) {
  image_ = std::make_unique<storage::PipeSink>(fd_, size, kPipeName);
  return image_.get();
}

Task<BlockDevice*> PipedImage::make_qcow2(qcow2::CreateOptions options, int compression_level) {
  if (options.data_filename.has_value()) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                "An image with an external data file cannot be written to a pipe");
  }
  qcow2::validate(options);
  file_ = co_await storage::unnamed_file(kPipeName);
  co_await qcow2::create(*file_, nullptr, options);
  qcow2::OpenOptions open_options;
  open_options.writable = true;
  open_options.compression_level = compression_level;
  std::unique_ptr<BlockDevice> borrowed = std::make_unique<filter::BorrowedDevice>(*file_);
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(borrowed), std::move(open_options));
  co_await open_backing(*image);
  image_ = std::move(image);
  co_return image_.get();
}

Task<void> PipedImage::finish(const Cancellation* cancellation) {
  // A qcow2 image is complete once it is closed; a sink fills up to its size.
  const std::unique_ptr<BlockDevice> image = std::exchange(image_, nullptr);
  co_await image->close();
  if (file_) co_await send(cancellation);
}

Task<void> PipedImage::send(const Cancellation* cancellation) {
  const uint64_t size = file_->size();
  storage::PipeSink sink(fd_, size, kPipeName);
  Buffer buffer(std::min(size, kBufferSize));
  for (uint64_t offset = 0; offset < size; offset += buffer.size()) {
    if (cancellation != nullptr) cancellation->check();
    const Bytes bytes = buffer.bytes(0, std::min<uint64_t>(buffer.size(), size - offset));
    co_await file_->read(offset, ReadBuffers(bytes));
    co_await sink.write(offset, WriteBuffers(bytes), WriteFlags::kNone);
  }
  co_await sink.close();
}

Task<void> PipedImage::close() {
  // An unfinished image is discarded with its file.
  image_.reset();
  const std::unique_ptr<storage::FileDevice> file = std::exchange(file_, nullptr);
  if (file) co_await file->close();
}

}  // namespace byre::jobs
