// SPDX-License-Identifier: Apache-2.0
#include "filter/copy_on_read_device.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "block/buffer.h"

namespace byre::filter {

namespace {

constexpr uint64_t kCopyMax = 1 << 20;

}  // namespace

CopyOnReadDevice::CopyOnReadDevice(std::unique_ptr<BlockDevice> below, std::string filename)
    : FilterDevice(std::move(below), std::move(filename)),
      is_read_only_(FilterDevice::is_read_only()),
      events_(this->below().debug_listener()) {}

// Whole clusters are copied, as the layer below would fill up the rest of them by itself.
Task<void> CopyOnReadDevice::copy(uint64_t offset, uint64_t length) {
  const uint64_t unit = std::max<uint32_t>(below().limits().preferred_transfer, 1);
  const uint64_t start = align_down(offset, unit);
  const uint64_t end = std::min(align_up(offset + length, unit), size());
  const RangeLock::Guard guard =
      co_await ranges_.acquire(start, end - start, RangeLock::Mode::kExclusive);
  uint64_t place = start;
  while (place < end) {
    const uint64_t wanted = std::min(end - place, kCopyMax);
    const std::vector<Extent> chain = co_await below().extents(place, wanted, ExtentScope::kChain);
    const Extent& first = chain.front();
    if (first.present && first.depth > 0) {
      Buffer buffer(first.length);
      const IoVector bytes(buffer.bytes());
      co_await below().read(place, bytes);
      co_await events_.raise(DebugEvent::kCorWrite);
      if (bytes.is_all_zero()) {
        co_await below().write_zeroes(place, first.length, WriteFlags::kNone);
      } else {
        co_await below().write(place, bytes, WriteFlags::kNone);
      }
    }
    place += first.length;
  }
}

Task<void> CopyOnReadDevice::read(uint64_t offset, IoVector to) {
  check_range(offset, to.size());
  if (to.size() > 0) co_await copy(offset, to.size());
  co_await below().read(offset, std::move(to));
}

Task<void> CopyOnReadDevice::write(uint64_t offset, IoVector from, WriteFlags flags) {
  check_writable(offset, from.size());
  const RangeLock::Guard guard =
      co_await ranges_.acquire(offset, from.size(), RangeLock::Mode::kShared);
  co_await below().write(offset, std::move(from), flags);
}

Task<void> CopyOnReadDevice::write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  check_writable(offset, length);
  const RangeLock::Guard guard = co_await ranges_.acquire(offset, length, RangeLock::Mode::kShared);
  co_await below().write_zeroes(offset, length, flags);
}

Task<void> CopyOnReadDevice::discard(uint64_t offset, uint64_t length) {
  check_writable(offset, length);
  const RangeLock::Guard guard = co_await ranges_.acquire(offset, length, RangeLock::Mode::kShared);
  co_await below().discard(offset, length);
}

}  // namespace byre::filter
