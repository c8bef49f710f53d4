// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "storage/file_device.h"

namespace byre::open {

// The destination of a new image of a given name: a new file, or an existing device of the host.
struct Destination {
  std::string path;
  storage::HostDriver driver = storage::HostDriver::kFile;
  bool names_driver = false;  // by the name: "file:disk.img", "host_device:/dev/sdx"
};

// Throws Error with QEMU's message for a name with a protocol that cannot create images.
Destination destination_of(const std::string& filename);

// What happens to the contents of an existing file.
enum class OldContents { kKept, kGone };

// Creates the file, or opens it and, with kGone, truncates it; a device is opened unchanged. Locked
// as QEMU locks a new file. Error messages are QEMU's.
Task<std::unique_ptr<storage::FileDevice>> open_destination(Destination file,
                                                            OldContents old_contents);

}  // namespace byre::open
