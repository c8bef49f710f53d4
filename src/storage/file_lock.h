// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace byre::storage {

// What a program does with an image, and what it lets others do meanwhile, as QEMU counts it. Each
// bit is one byte of the file under an OFD read lock: 100 + bit where it is done, 200 + bit where
// others must not do it. Whoever wants a permission looks for locks on 200 + bit, whoever refuses
// to share one looks for locks on 100 + bit. So QEMU and byre keep each other out.
enum Permission : uint8_t {
  kPermissionConsistentRead = 1,
  kPermissionWrite = 2,
  kPermissionWriteUnchanged = 4,
  kPermissionResize = 8,
};

struct LockPermissions {
  uint8_t held = 0;      // of Permission
  uint8_t unshared = 0;  // of Permission
  bool operator==(const LockPermissions&) const = default;
};

// What QEMU's programs take.
inline constexpr LockPermissions kLockNothing{0, 0};
// Somebody looks at an image's metadata (`info`).
inline constexpr LockPermissions kLockInspect{0, kPermissionWrite | kPermissionResize};
inline constexpr LockPermissions kLockRead{kPermissionConsistentRead,
                                           kPermissionWrite | kPermissionResize};
inline constexpr LockPermissions kLockWrite{
    kPermissionConsistentRead | kPermissionWrite | kPermissionResize,
    kPermissionWrite | kPermissionResize};
// A file is made or emptied (`create`).
inline constexpr LockPermissions kLockCreate{kPermissionWrite | kPermissionResize,
                                             kPermissionResize};
// A raw image lets others read and write it as long as they stay polite to its size.
inline constexpr LockPermissions kLockReadRaw{kPermissionConsistentRead, 0};
inline constexpr LockPermissions kLockWriteRaw{kPermissionConsistentRead | kPermissionWrite, 0};

// Changes what the open file `fd` holds from `now` to `wanted`. On a conflict it throws
// Error(kLocked, EAGAIN) with QEMU's two lines as the message and the holder's name and process
// number as the hint, and holds what it held before. The locks go away with the open file. Where
// the file system or the kernel has no such locks it does nothing or, with `required`, throws.
void change_lock(int fd, const std::string& filename, LockPermissions now, LockPermissions wanted,
                 bool required = false);

// "'qemu-system-x86' (process 4711)", or several of them, of those processes that hold a lock on
// any byte of [first, last] of the file behind `fd` in a way that keeps others out; empty where
// /proc tells nothing.
std::string lock_holders(int fd, uint64_t first, uint64_t last);

}  // namespace byre::storage
