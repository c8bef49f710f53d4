// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "async/task.h"
#include "open/created_files.h"
#include "open/creation_options.h"

namespace byre::jobs {

// A new image in a new file.
struct NewImage {
  std::string filename;
  open::CreationOptions options;                                 // and its format
  std::function<void(const std::string&)> on_warning = nullptr;  // about hints of the file
};

// New images are created in files and on devices of the host: throws Error for
// a name with another protocol.
void require_file(const std::string& filename);

// Creates the file, and the external data file if one is named (relative to the current directory,
// as in QEMU), and the image in them; flushed and closed. An existing file loses its contents,
// unless another process holds its lock or it is clear beforehand that the new image cannot be
// created. Backing files are not opened: the options must give the size and format of a backing
// file. Options that the format does not accept, or that contradict each other, are refused before
// a file is touched; a failure after that removes the files of a qcow2 image that were created
// here, and leaves an empty file for a raw image, as QEMU does. `created`, if not nullptr, receives
// the files that are new. Error messages are without the prefix "<filename>: ".
Task<void> create_image(NewImage image, open::CreatedFiles* created = nullptr);

}  // namespace byre::jobs
