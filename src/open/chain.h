// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "open/open.h"
#include "storage/file_device.h"

namespace byre::open {

// One image and the files below it while they are being opened: its backing file, that one's
// backing file, and so on, each with its data file. It remembers which files of the host it has
// opened, so that a chain that comes back to one of them is refused at once, whatever names led
// there.
//
// Errors are QEMU's words without the outermost "Could not open '<name>': ".
class Chain {
 public:
  explicit Chain(ImageOptions options) : options_(std::move(options)) {}

  Task<std::unique_ptr<BlockDevice>> open(std::string filename);
  // The same for a file that is open already.
  Task<std::unique_ptr<BlockDevice>> open_on(std::unique_ptr<storage::FileDevice> file);

 private:
  Task<std::unique_ptr<BlockDevice>> open_link(std::string filename, ImageOptions options);
  Task<std::unique_ptr<BlockDevice>> open_format(std::unique_ptr<storage::FileDevice> file,
                                                 ImageOptions options);
  Task<std::unique_ptr<BlockDevice>> open_qcow2(std::unique_ptr<storage::FileDevice> file,
                                                ImageOptions options);
  Task<std::unique_ptr<BlockDevice>> open_data_file(const qcow2::Image* image,
                                                    const ImageOptions& options);
  Task<std::unique_ptr<BlockDevice>> open_backing(const qcow2::Image* image,
                                                  const ImageOptions& options);
  // Throws if the file is an image of the chain already.
  void check_new(const storage::FileDevice& file) const;

  ImageOptions options_;
  std::vector<storage::FileIdentity> images_;  // from the top on
};

}  // namespace byre::open
