// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "async/cancellation.h"
#include "block/block_device.h"
#include "open/creation_options.h"
#include "storage/file_device.h"

namespace byre::jobs {

inline constexpr const char* kPipeName = "-";

// A new image that is sent to a pipe. An image whose file is not written sequentially (qcow2) is
// kept in an unnamed file until it is complete. The descriptor still belongs to the caller, and stays
// open.
class PipedImage {
 public:
  explicit PipedImage(int fd) : fd_(fd) {}

  // A new image of options.size() bytes, opened for writing. If the options name a backing file,
  // that file is opened. An external data file is Error(kUnsupported). `options` outlives the task.
  Task<BlockDevice*> make(const open::CreationOptions& options, int compression_level);
  // What is written goes to the pipe at once: it must be written in the order of offsets. Otherwise
  // finish() sends everything.
  bool is_sequential() const { return file_ == nullptr; }

  // Sends the rest.
  Task<void> finish(const Cancellation* cancellation);
  // Sends nothing more; called after finish(), or instead of it if the image failed.
  Task<void> close();

 private:
  Task<void> send(const Cancellation* cancellation);

  const int fd_;
  std::unique_ptr<BlockDevice> image_;
  std::unique_ptr<storage::FileDevice> file_;  // the unnamed file, if there is one
};

}  // namespace byre::jobs
