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

constexpr uint64_t kAlignmentMax = 1 << 30;
constexpr uint64_t kNewSizeMax = BlockDevice::kSizeMax / kAlignmentMax * kAlignmentMax;

constexpr std::array<const char*, 4> kPreallocationNames{"off", "metadata", "falloc", "full"};

}  // namespace

Task<void> BlockDevice::read(uint64_t offset, ReadBuffers to) {
  return start([&] {
    check_readable(offset, to.size());
    if (piece(offset, to.size()) < to.size()) return read_in_pieces(offset, std::move(to));
    return do_read(offset, std::move(to));
  });
}

WriteFlags BlockDevice::with_durability(WriteFlags flags) const {
  return writes_through_ ? flags | WriteFlags::kFua : flags;
}

Task<void> BlockDevice::write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  return start([&] {
    check_writable(offset, from.size());
    flags = with_durability(flags);
    if (policy_.becomes_zeroes(from)) {
      return do_write_zeroes(offset, from.size(),
                             policy_.zeroes_flags(policy_.detected_flags(flags)));
    }
    // Compressed writes are whole clusters: if split, they would be refused.
    const bool may_split = !has_flag(flags, WriteFlags::kCompressed);
    if (may_split && piece(offset, from.size()) < from.size()) {
      return write_in_pieces(offset, std::move(from), flags);
    }
    return do_write(offset, std::move(from), flags);
  });
}

Task<void> BlockDevice::write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  return start([&] {
    check_writable(offset, length);
    return do_write_zeroes(offset, length, policy_.zeroes_flags(with_durability(flags)));
  });
}

Task<void> BlockDevice::discard(uint64_t offset, uint64_t length, WriteFlags flags) {
  return start([&] {
    check_range(offset, length);
    check_changeable();
    if (policy_.ignores_discards()) return ready();
    const bool is_durable = has_flag(with_durability(flags), WriteFlags::kFua);
    return is_durable ? then_flush(do_discard(offset, length)) : do_discard(offset, length);
  });
}

Task<void> BlockDevice::then_flush(Task<void> change) {
  co_await std::move(change);
  co_await do_flush();
}

Task<void> BlockDevice::reserve_space(uint64_t offset, uint64_t length) {
  return start([&] {
    check_writable(offset, length);
    return do_reserve_space(offset, length);
  });
}

Task<void> BlockDevice::flush() {
  return start([&] {
    check_open();
    return do_flush();
  });
}

Task<void> BlockDevice::start_flush() {
  return start([&] {
    check_open();
    return do_start_flush();
  });
}

Task<std::vector<Extent>> BlockDevice::extents(uint64_t offset, uint64_t length,
                                               ExtentScope scope) {
  return start([&] {
    check_readable(offset, length);
    return do_extents(offset, length, scope);
  });
}

void BlockDevice::check_new_size(uint64_t new_size) {
  if (new_size <= kNewSizeMax || new_size > kSizeMax) return;
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              ErrorData{.code = "size-beyond-offsets", .value = new_size, .bound = kNewSizeMax},
              fmt::format("the new size is {}; at most {} is possible", new_size, kNewSizeMax));
}

Task<void> BlockDevice::resize(uint64_t new_size, Preallocation preallocation) {
  return start([&] {
    check_open();
    check_changeable();
    check_new_size(new_size);
    return writes_through_ ? then_flush(do_resize(new_size, preallocation))
                           : do_resize(new_size, preallocation);
  });
}

Task<void> BlockDevice::close() {
  if (std::exchange(is_closed_, true)) co_return;
  co_await in_flight_.wait_until_empty();
  co_await do_close();
}

Task<bool> BlockDevice::copy_from(HostRange source, uint64_t offset, uint64_t length) {
  return start([&] {
    check_writable(offset, length);
    return writes_through_ ? copy_durably(source, offset, length)
                           : do_copy_from(source, offset, length);
  });
}

Task<bool> BlockDevice::copy_durably(HostRange source, uint64_t offset, uint64_t length) {
  const bool is_copied = co_await do_copy_from(source, offset, length);
  if (is_copied) co_await do_flush();
  co_return is_copied;
}

void BlockDevice::check_open() const {
  if (!is_closed_) return;
  throw Error(ErrorKind::kInvalidArgument, EBADF,
              ErrorData{.code = "device-closed", .file = filename()}, "it is closed");
}

void BlockDevice::check_range(uint64_t offset, uint64_t length) const {
  check_open();
  if (range_fits(offset, length, size())) return;
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              ErrorData{.code = "device-range-past-end",
                        .field = "length",
                        .value = length,
                        .bound = size(),
                        .offset = offset,
                        .file = filename()},
              fmt::format("request for {} bytes at offset {} reaches past the end at {}", length,
                          offset, size()));
}

void BlockDevice::check_readable(uint64_t offset, uint64_t length) {
  if (!is_closed_ && !range_fits(offset, length, size())) refresh_size();
  check_range(offset, length);
}

void BlockDevice::check_writable(uint64_t offset, uint64_t length) const {
  check_open();
  if (!limits().grows || !range_fits(offset, length, kSizeMax)) check_range(offset, length);
  check_changeable();
}

void BlockDevice::check_changeable() const {
  if (!is_read_only()) return;
  throw Error(ErrorKind::kPermission, EPERM,
              ErrorData{.code = "device-read-only", .file = filename()}, "it is read-only");
}

// Pieces end where the device prefers requests to end.
uint64_t BlockDevice::piece(uint64_t offset, uint64_t left) const {
  const Limits& limits = this->limits();
  if (limits.transfer_max == 0) return left;
  const uint64_t unit = limits.request_alignment;
  const uint64_t max =
      limits.transfer_max < unit ? limits.transfer_max : align_down(limits.transfer_max, unit);
  if (left <= max) return left;
  const uint64_t past_block = offset % unit;
  return past_block < max ? max - past_block : max;
}

Task<void> BlockDevice::read_in_pieces(uint64_t offset, ReadBuffers to) {
  for (uint64_t done = 0; done < to.size();) {
    const uint64_t length = piece(offset + done, to.size() - done);
    const ReadBuffers part = to.slice(done, length);
    co_await do_read(offset + done, part);
    done += length;
  }
}

Task<void> BlockDevice::write_in_pieces(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  for (uint64_t done = 0; done < from.size();) {
    const uint64_t length = piece(offset + done, from.size() - done);
    const WriteBuffers part = from.slice(done, length);
    co_await do_write(offset + done, part, flags);
    done += length;
  }
}

Task<void> BlockDevice::do_reserve_space(uint64_t, uint64_t) {
  return ready();
}

Task<void> BlockDevice::do_start_flush() {
  return ready();
}

Task<bool> BlockDevice::do_copy_from(HostRange, uint64_t, uint64_t) {
  co_return false;
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
