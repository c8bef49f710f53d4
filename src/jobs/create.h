// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "async/task.h"
#include "block/block_device.h"
#include "jobs/made_files.h"
#include "qcow2/create/create.h"

namespace byre::jobs {

// A new image in a new file.
struct NewImage {
  std::string filename;
  std::string format = "raw";  // or "qcow2"
  // For raw, only `size` and `preallocation` are used.
  qcow2::CreateOptions options;
  // For the created files: no copy-on-write on btrfs; size hint for extents on XFS.
  bool nocow = false;
  std::optional<uint64_t> extent_size_hint;
  std::function<void(const std::string&)> on_warning;  // about hints that could not be applied
};

// New images are created in files and on devices of the host: throws Error with QEMU's message for
// a name with another protocol.
void require_file(const std::string& filename);

// Throws Error with QEMU's message if the options are incompatible. Touches nothing.
void validate(const NewImage& image);

// Creates the file, and the external data file if one is named (relative to the current directory,
// as in QEMU), and the image in them; flushed and closed. An existing file loses its contents,
// unless another process holds its lock or it is clear beforehand that the new image cannot be
// created. Backing files are not opened: the options must give the size and format of a backing
// file. Whatever validate() refuses is refused before a file is touched; a failure after that
// removes the files of a qcow2 image that were created here, and leaves an empty file for a raw
// image, as QEMU does. `made`, if not nullptr, receives the files that are new. Error messages are
// QEMU's, without the prefix "<filename>: ".
Task<void> create_image(NewImage image, MadeFiles* made = nullptr);

}  // namespace byre::jobs
