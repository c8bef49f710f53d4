// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "open/node.h"
#include "storage/file_lock.h"

// What QEMU's programs lock of the files below a node.
namespace byre::open {

// Of a node whose bytes are the guest's: a raw image, a data file, a file by itself.
storage::LockPermissions raw_lock(const NodeRequest& request);
// Of a qcow2 image's own file.
storage::LockPermissions qcow2_lock(const NodeRequest& request);

// Locks the file that a device has its bytes from, whatever filters stand between, beside what is
// locked of it already. null-co has none; any other device without one is refused, as somebody else
// might write to it.
void lock_file_below(BlockDevice& device, storage::LockPermissions permissions);

}  // namespace byre::open
