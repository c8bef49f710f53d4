// SPDX-License-Identifier: Apache-2.0
#include "block/block_device.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/checked.h"
#include "byre/error.h"

namespace byre {

void BlockDevice::check_range(uint64_t offset, uint64_t length) const {
  if (range_fits(offset, length, size())) return;
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              fmt::format("'{}': request for {} bytes at offset {} reaches past the end at {}",
                          filename(), length, offset, size()));
}

void BlockDevice::check_writable(uint64_t offset, uint64_t length) const {
  if (!limits().grows || !range_fits(offset, length, kSizeMax)) check_range(offset, length);
  if (is_read_only()) {
    throw Error(ErrorKind::kPermission, EPERM, fmt::format("'{}' is read-only", filename()));
  }
}

DebugListener* find_debug_listener(BlockDevice& device) {
  BlockDevice* place = &device;
  while (true) {
    if (DebugListener* const listener = place->debug_listener()) return listener;
    const std::vector<ChildDevice> children = place->children();
    if (children.empty()) return nullptr;
    place = children.front().device;
  }
}

}  // namespace byre
