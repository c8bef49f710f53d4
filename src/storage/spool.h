// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "async/cancellation.h"
#include "storage/file_device.h"

namespace byre::storage {

// Reads a pipe to its end into a file without a name, in TMPDIR or /var/tmp or /tmp, and gives that
// file: what comes through a pipe can then be read in any order. Runs of zeroes become holes. The
// descriptor stays the caller's. A regular file or block device that nobody has read from yet is
// not copied but used as it is, and locked as one that is opened. `filename` is for messages ("-").
Task<std::unique_ptr<FileDevice>> spool(int fd, std::string filename,
                                        const Cancellation* cancellation);

// An empty file without a name in the same folder, writable: where something is made that
// goes to a pipe afterwards.
Task<std::unique_ptr<FileDevice>> unnamed_file(std::string filename);

}  // namespace byre::storage
