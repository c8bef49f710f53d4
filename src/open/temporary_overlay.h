// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "block/block_device.h"
#include "block/request_policy.h"

namespace byre::open {

// A qcow2 image in an unnamed file, in TMPDIR or /var/tmp or /tmp, on top of `backing`, which is
// not changed: what is written disappears with the device. QEMU's snapshot=on. Without `writable`
// it accepts no writes either.
Task<std::unique_ptr<BlockDevice>> put_temporary_overlay(std::unique_ptr<BlockDevice> backing,
                                                         bool writable, RequestPolicy policy);

}  // namespace byre::open
