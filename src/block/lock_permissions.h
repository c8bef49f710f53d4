// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace byre {

// What a program does with an image, and what it allows other programs to do meanwhile, in QEMU's
// terms. Each bit is one byte of the file under an OFD read lock: 100 + bit if the program does it,
// 200 + bit if others must not do it. A program that wants a permission looks for locks on 200 +
// bit; one that refuses to share it looks for locks on 100 + bit. In this way QEMU and byre exclude
// each other.
enum Permission : uint8_t {
  kPermissionConsistentRead = 1,
  kPermissionWrite = 2,
  kPermissionWriteUnchanged = 4,
  kPermissionResize = 8,
};

struct LockPermissions {
  uint8_t held = 0;      // bits of Permission
  uint8_t unshared = 0;  // bits of Permission
  bool operator==(const LockPermissions&) const = default;
};

// The locks that QEMU's programs take.
inline constexpr LockPermissions kLockNothing{0, 0};
// An image's metadata is inspected (`info`).
inline constexpr LockPermissions kLockInspect{0, kPermissionWrite | kPermissionResize};
inline constexpr LockPermissions kLockRead{kPermissionConsistentRead,
                                           kPermissionWrite | kPermissionResize};
inline constexpr LockPermissions kLockWrite{
    kPermissionConsistentRead | kPermissionWrite | kPermissionResize,
    kPermissionWrite | kPermissionResize};
// A file is created or truncated (`create`).
inline constexpr LockPermissions kLockCreate{kPermissionWrite | kPermissionResize,
                                             kPermissionResize};
// A raw image may be read and written by others as long as they do not resize it.
inline constexpr LockPermissions kLockReadRaw{kPermissionConsistentRead, 0};
inline constexpr LockPermissions kLockWriteRaw{kPermissionConsistentRead | kPermissionWrite, 0};

}  // namespace byre
