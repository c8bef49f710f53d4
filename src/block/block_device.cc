// SPDX-License-Identifier: Apache-2.0
#include "block/block_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "byre/error.h"

namespace byre {

namespace {

constexpr std::array<const char*, 4> kPreallocationNames{"off", "metadata", "falloc", "full"};

}  // namespace

void BlockDevice::check_open() const {
  if (!is_closed_) return;
  throw Error(ErrorKind::kInvalidArgument, EBADF, fmt::format("'{}' is closed", filename()));
}

void BlockDevice::check_range(uint64_t offset, uint64_t length) const {
  check_open();
  if (range_fits(offset, length, size())) return;
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              fmt::format("'{}': request for {} bytes at offset {} reaches past the end at {}",
                          filename(), length, offset, size()));
}

void BlockDevice::check_writable(uint64_t offset, uint64_t length) const {
  check_open();
  if (!limits().grows || !range_fits(offset, length, kSizeMax)) check_range(offset, length);
  if (is_read_only()) {
    throw Error(ErrorKind::kPermission, EPERM, fmt::format("'{}' is read-only", filename()));
  }
}

Task<void> BlockDevice::reserve_space(uint64_t, uint64_t) {
  co_return;
}

const char* preallocation_name(Preallocation preallocation) {
  return kPreallocationNames[static_cast<size_t>(preallocation)];
}

std::optional<Preallocation> preallocation_named(std::string_view name) {
  const auto found = std::ranges::find(kPreallocationNames, name);
  if (found == kPreallocationNames.end()) return std::nullopt;
  return static_cast<Preallocation>(found - kPreallocationNames.begin());
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

const BlockDevice& leaf_of(const BlockDevice& device) {
  const BlockDevice* place = &device;
  while (true) {
    const std::vector<ChildDevice> children = place->children();
    if (children.empty()) return *place;
    place = children.front().device;
  }
}

BlockDevice& leaf_of(BlockDevice& device) {
  return const_cast<BlockDevice&>(leaf_of(std::as_const(device)));
}

}  // namespace byre
