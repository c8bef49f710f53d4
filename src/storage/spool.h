// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "async/cancellation.h"
#include "storage/file_device.h"

namespace byre::storage {

// Reads a pipe to its end into a file without a name, in TMPDIR or /var/tmp or /tmp, and gives that
// file: what comes through a pipe can then be read in any order. Runs of zeroes become holes. The
// descriptor stays the caller's. A descriptor that is a regular file or a block device is not copied but
// opened as it is, from its start. `filename` is for messages ("-").
Task<std::unique_ptr<FileDevice>> spool(int fd, std::string filename,
                                        const Cancellation* cancellation);

// An empty file without a name in the same folder, writable: where something is made that
// goes to a pipe afterwards.
Task<std::unique_ptr<FileDevice>> unnamed_file(std::string filename);

}  // namespace byre::storage
