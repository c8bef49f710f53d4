// SPDX-License-Identifier: Apache-2.0
#include "open/locks.h"

#include <fmt/format.h>

#include <cerrno>

#include "byre/error.h"

namespace byre::open {

namespace {

// For an external data file: other processes must not resize it.
constexpr LockPermissions kLockReadData{kPermissionConsistentRead, kPermissionResize};
constexpr LockPermissions kLockWriteData{
    kPermissionConsistentRead | kPermissionWrite | kPermissionResize, kPermissionResize};

}  // namespace

LockPermissions raw_lock(const NodeRequest& request) {
  if (request.role == Role::kDataFile) {
    return request.flags.writable ? kLockWriteData : kLockReadData;
  }
  if (request.image.metadata_only) return kLockNothing;
  if (request.flags.writable) return kLockWriteRaw;
  if (request.image.no_share) return kLockRead;
  return request.image.no_resize ? kLockReadData : kLockReadRaw;
}

LockPermissions qcow2_lock(const NodeRequest& request) {
  if (request.flags.writable) return kLockWrite;
  return request.image.metadata_only ? kLockInspect : kLockRead;
}

void lock_file_below(BlockDevice& device, LockPermissions permissions) {
  BlockDevice& leaf = leaf_of(device);
  if (leaf.add_lock(permissions)) return;
  throw Error(ErrorKind::kUnsupported, ENOTSUP,
              fmt::format("'{}' cannot be locked", device.filename()),
              fmt::format("the driver '{}' has no file below it", leaf.driver()));
}

}  // namespace byre::open
