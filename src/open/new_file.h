// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "storage/file_device.h"

namespace byre::open {

// Where a new image of some name goes: into a new file, or onto a device of the host, which is
// there already.
struct NewFile {
  std::string path;
  storage::HostDriver driver = storage::HostDriver::kFile;
  bool is_driver_said = false;  // by the name: "file:disk.img", "host_device:/dev/sdx"
};

// Throws Error in QEMU's words for a name with a protocol that makes no images.
NewFile new_file(const std::string& filename);

// What a file that is there already held.
enum class OldContents { kKept, kGone };

// Makes the file, or opens it and, with kGone, empties it; a device is opened as it is. Locked as
// QEMU locks a new file. Errors are QEMU's words.
Task<std::unique_ptr<storage::FileDevice>> open_new_file(NewFile file, OldContents old_contents);

}  // namespace byre::open
