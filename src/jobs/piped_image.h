// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "async/cancellation.h"
#include "block/block_device.h"
#include "qcow2/create/create.h"
#include "storage/file_device.h"

namespace byre::jobs {

inline constexpr const char* kPipeName = "-";

// A new image that is sent to a pipe. qcow2 is not written sequentially, so such an image is kept
// in an unnamed file until it is complete. The descriptor still belongs to the caller, and stays
// open.
class PipedImage {
 public:
  explicit PipedImage(int fd) : fd_(fd) {}

  // A raw image: what is written goes to the pipe at once, in the order of offsets.
  BlockDevice* make_raw(uint64_t size);
  // A new qcow2 image, which finish() sends to the pipe. If `options` name a backing file, that
  // file is opened. An external data file is Error(kUnsupported).
  Task<BlockDevice*> make_qcow2(qcow2::CreateOptions options, int compression_level);

  // Sends the rest.
  Task<void> finish(const Cancellation* cancellation);
  // Sends nothing more; called after finish(), or instead of it if the image failed.
  Task<void> close();

 private:
  Task<void> send(const Cancellation* cancellation);

  const int fd_;
  std::unique_ptr<BlockDevice> image_;
  std::unique_ptr<storage::FileDevice> file_;  // the temporary file of a qcow2 image
};

}  // namespace byre::jobs
