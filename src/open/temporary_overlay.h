// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "block/block_device.h"
#include "block/request_policy.h"

namespace byre::open {

// A qcow2 image in a file without a name, in TMPDIR or /var/tmp or /tmp, on top of `backing`, which
// stays as it is: what is written goes away with the device. QEMU's snapshot=on. Without `writable`
// it takes no writes either.
Task<std::unique_ptr<BlockDevice>> put_temporary_overlay(std::unique_ptr<BlockDevice> backing,
                                                         bool writable, RequestPolicy policy);

}  // namespace byre::open
