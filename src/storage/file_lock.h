// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "block/lock_permissions.h"

namespace byre::storage {

// Changes the locks that the open file `fd` holds from `now` to `wanted`. On a conflict it throws
// Error(kLocked, EAGAIN) with the holder's name and process number as the hint, and keeps the former
// locks. The locks are released when the file is closed.
// If the file system or the kernel does not support such locks it does nothing or, with `required`,
// throws.
void change_lock(int fd, const std::string& filename, LockPermissions now, LockPermissions wanted,
                 bool required = false);

// "'qemu-system-x86' (process 4711)", or several of them: the processes that hold a lock on any
// byte of [first, last] of the file of `fd` that excludes others; empty if /proc has no
// information.
std::string lock_holders(int fd, uint64_t first, uint64_t last);

}  // namespace byre::storage
