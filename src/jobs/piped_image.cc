// SPDX-License-Identifier: Apache-2.0
#include "jobs/piped_image.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "open/driver.h"
#include "open/image_creation.h"
#include "storage/pipe_sink.h"

namespace byre::jobs {
namespace {

constexpr uint64_t kBufferSize = 2 * kMiB;

}  // namespace

Task<BlockDevice*> PipedImage::make(const open::CreationOptions& options, int compression_level) {
  const open::ImageCreation& creation = *options.driver().creation;
  if (creation.create_unnamed == nullptr) {
    const uint64_t size = align_up(options.size(), kSectorSize);
    image_ = std::make_unique<storage::PipeSink>(fd_, size, kPipeName);
    co_return image_.get();
  }
  open::UnnamedImage made = co_await creation.create_unnamed(kPipeName, options, compression_level);
  file_ = std::move(made.file);
  image_ = std::move(made.image);
  co_return image_.get();
}

Task<void> PipedImage::finish(const Cancellation* cancellation) {
  // An image in a file is complete once it is closed; a sink fills up to its size.
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
