// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "async/cancellation.h"
#include "storage/file_device.h"

namespace byre::storage {

// Reads a pipe to its end into an unnamed file, in TMPDIR or /var/tmp or /tmp, and returns that
// file: data from a pipe can then be read in any order. Runs of zeroes become holes. The descriptor
// still belongs to the caller. A regular file or block device that has not been read from yet is
// not copied but used directly, and locked like one that is opened. `filename` is for messages
// ("-").
Task<std::unique_ptr<FileDevice>> spool(int fd, std::string filename,
                                        const Cancellation* cancellation);

// An empty unnamed file in the same directory, writable: for output that goes to a pipe afterwards.
Task<std::unique_ptr<FileDevice>> unnamed_file(std::string filename);

}  // namespace byre::storage
