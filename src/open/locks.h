// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "open/node.h"
#include "storage/file_lock.h"

// The locks that QEMU's programs take on the files below a node.
namespace byre::open {

// For a node whose bytes are the guest's: a raw image, a data file, a file on its own.
LockPermissions raw_lock(const NodeRequest& request);
// For a qcow2 image's own file.
LockPermissions qcow2_lock(const NodeRequest& request);

// Locks the file that a device gets its bytes from, whatever filters are in between, in addition to
// the locks already held. null-co has no file; any other device without one is refused, as another
// process might write to it.
void lock_file_below(BlockDevice& device, LockPermissions permissions);

}  // namespace byre::open
