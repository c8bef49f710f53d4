// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "async/cancellation.h"
#include "block/block_device.h"
#include "qcow2/create/create.h"
#include "storage/file_device.h"

namespace byre::jobs {

inline constexpr const char* kPipeName = "-";

// A new image whose bytes end up in a pipe. qcow2 is written in any order, so such an image lies in
// a file without a name until it is whole. The descriptor stays the caller's, and open.
class PipedImage {
 public:
  explicit PipedImage(int fd) : fd_(fd) {}

  // A raw image: what is written goes into the pipe at once, in the order of offsets.
  BlockDevice* make_raw(uint64_t size);
  // A new qcow2 image; it goes into the pipe in finish(). With a backing file named in `options`,
  // that file is opened. An external data file is Error(kUnsupported).
  Task<BlockDevice*> make_qcow2(qcow2::CreateOptions options, int compression_level);

  // Sends what is still to be sent.
  Task<void> finish(const Cancellation* cancellation);
  // Without sending anything more; after finish(), or instead of it where the image failed.
  Task<void> close();

 private:
  Task<void> send(const Cancellation* cancellation);

  const int fd_;
  std::unique_ptr<BlockDevice> image_;
  std::unique_ptr<storage::FileDevice> file_;  // where a qcow2 image lies meanwhile
};

}  // namespace byre::jobs
