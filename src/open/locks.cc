// SPDX-License-Identifier: Apache-2.0
#include "open/locks.h"

#include <fmt/format.h>

#include <cerrno>

#include "byre/error.h"
#include "storage/file_device.h"
#include "storage/null_device.h"

namespace byre::open {

namespace {

// For an external data file: other processes must not resize it.
constexpr storage::LockPermissions kLockReadData{storage::kPermissionConsistentRead,
                                                 storage::kPermissionResize};
constexpr storage::LockPermissions kLockWriteData{
    storage::kPermissionConsistentRead | storage::kPermissionWrite | storage::kPermissionResize,
    storage::kPermissionResize};

}  // namespace

storage::LockPermissions raw_lock(const NodeRequest& request) {
  if (request.role == Role::kDataFile) {
    return request.flags.writable ? kLockWriteData : kLockReadData;
  }
  if (request.image.metadata_only) return storage::kLockNothing;
  if (request.flags.writable) return storage::kLockWriteRaw;
  if (request.image.no_share) return storage::kLockRead;
  return request.image.no_resize ? kLockReadData : storage::kLockReadRaw;
}

storage::LockPermissions qcow2_lock(const NodeRequest& request) {
  if (request.flags.writable) return storage::kLockWrite;
  return request.image.metadata_only ? storage::kLockInspect : storage::kLockRead;
}

void lock_file_below(BlockDevice& device, storage::LockPermissions permissions) {
  BlockDevice& leaf = leaf_of(device).itself();
  auto* const file = dynamic_cast<storage::FileDevice*>(&leaf);
  if (file != nullptr) {
    // Two nodes may share one file.
    const storage::LockPermissions held = file->lock();
    file->set_lock({static_cast<uint8_t>(held.held | permissions.held),
                    static_cast<uint8_t>(held.unshared | permissions.unshared)});
    return;
  }
  if (dynamic_cast<storage::NullDevice*>(&leaf) != nullptr) return;
  throw Error(ErrorKind::kUnsupported, ENOTSUP,
              fmt::format("'{}' cannot be locked", device.filename()),
              fmt::format("the driver '{}' has no file below it", leaf.driver()));
}

}  // namespace byre::open
