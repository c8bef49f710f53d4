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
  // For raw, only `size` and `preallocation` count.
  qcow2::CreateOptions options;
  // Of the files that are made: no copy-on-write on btrfs; size hint for extents on XFS.
  bool nocow = false;
  std::optional<uint64_t> extent_size_hint;
  std::function<void(const std::string&)> on_warning;  // of hints that were asked for in vain
};

// New images are made in files and on devices of the host: throws Error in QEMU's words for a name
// with another protocol.
void require_file(const std::string& filename);

// Throws Error in QEMU's words where the options do not go together. Touches nothing.
void validate(const NewImage& image);

// Makes the file (an existing one loses its contents, unless somebody holds its lock or it is clear
// beforehand that the new image cannot be made), the external
// data file if one is named (relative to the current folder, as in QEMU), and the image in them;
// flushed and closed. Backing files are not opened: size and format of a backing file must stand in
// the options. Whatever validate() refuses is refused before a file was touched; a failure after
// that removes the files of a qcow2 image that were made here and leaves an empty file where a raw
// image should have been, as QEMU does. `made`, if any, learns which files are new. Errors: QEMU's
// words, without "<filename>: " before them.
Task<void> create_image(NewImage image, MadeFiles* made = nullptr);

}  // namespace byre::jobs
