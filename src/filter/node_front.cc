// SPDX-License-Identifier: Apache-2.0
#include "filter/node_front.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"

namespace byre::filter {

namespace {

// Pieces end where the device prefers requests to end.
uint64_t whole_blocks(uint64_t transfer_max, uint64_t alignment) {
  return transfer_max < alignment ? transfer_max : align_down(transfer_max, alignment);
}

}  // namespace

NodeFront::NodeFront(std::unique_ptr<BlockDevice> device, RequestPolicy policy,
                     uint64_t transfer_max)
    : FilterDevice(std::move(device)),
      policy_(policy),
      limits_(below().limits()),
      transfer_max_(whole_blocks(transfer_max, limits_.request_alignment)) {
  limits_.transfer_max = 0;
}

uint64_t NodeFront::piece(uint64_t offset, uint64_t left) const {
  const uint64_t past_block = offset % limits_.request_alignment;
  const uint64_t max = past_block < transfer_max_ ? transfer_max_ - past_block : transfer_max_;
  return std::min(left, max);
}

Task<void> NodeFront::read(uint64_t offset, IoVector to) {
  check_range(offset, to.size());
  if (transfer_max_ == 0 || to.size() <= transfer_max_) return below().read(offset, std::move(to));
  return read_in_pieces(offset, std::move(to));
}

Task<void> NodeFront::read_in_pieces(uint64_t offset, IoVector to) {
  for (uint64_t done = 0; done < to.size();) {
    const uint64_t length = piece(offset + done, to.size() - done);
    const IoVector part = to.slice(done, length);
    co_await below().read(offset + done, part);
    done += length;
  }
}

Task<void> NodeFront::write(uint64_t offset, IoVector from, WriteFlags flags) {
  check_writable(offset, from.size());
  if (policy_.becomes_zeroes(from)) {
    return write_zeroes(offset, from.size(), policy_.detected_flags(flags));
  }
  // Compressed writes are whole clusters: if split, they would be refused.
  const bool is_whole = transfer_max_ == 0 || from.size() <= transfer_max_ ||
                        has_flag(flags, WriteFlags::kCompressed);
  if (is_whole) return below().write(offset, std::move(from), flags);
  return write_in_pieces(offset, std::move(from), flags);
}

Task<void> NodeFront::write_in_pieces(uint64_t offset, IoVector from, WriteFlags flags) {
  for (uint64_t done = 0; done < from.size();) {
    const uint64_t length = piece(offset + done, from.size() - done);
    const IoVector part = from.slice(done, length);
    co_await below().write(offset + done, part, flags);
    done += length;
  }
}

Task<void> NodeFront::write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  return below().write_zeroes(offset, length, policy_.zeroes_flags(flags));
}

Task<void> NodeFront::discard(uint64_t offset, uint64_t length) {
  check_range(offset, length);
  check_writable(offset, length);
  if (policy_.ignores_discards()) co_return;
  co_await below().discard(offset, length);
}

Task<std::vector<Extent>> NodeFront::extents(uint64_t offset, uint64_t length, ExtentScope scope) {
  std::vector<Extent> result = co_await below().extents(offset, length, scope);
  // A caller that follows an extent to its file must pass through this device again.
  for (Extent& extent : result) {
    if (extent.file == &below()) extent.file = this;
  }
  co_return result;
}

std::unique_ptr<BlockDevice> with_front(std::unique_ptr<BlockDevice> device, RequestPolicy policy,
                                        uint64_t transfer_max) {
  const bool changes_writes =
      policy.ignores_discards() || policy.detect_zeroes != DetectZeroes::kOff;
  const bool needs_one = transfer_max != 0 || (changes_writes && !device->is_read_only());
  if (!needs_one) return device;
  return std::make_unique<NodeFront>(std::move(device), policy, transfer_max);
}

}  // namespace byre::filter
