// SPDX-License-Identifier: Apache-2.0
#include "filter/copy_on_read_device.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"

namespace byre::filter {

namespace {

// QEMU's bound: each copy consists entirely of zeroes, or of data.
constexpr uint64_t kCopyMax = 16 * kMiB;

struct Run {
  uint64_t length = 0;
  bool present = false;
  const BlockDevice* file = nullptr;
};

// Whether the topmost layer has the bytes at `offset`, and how many bytes of `length` have the same
// state: bytes with a reserved cluster differ from those without one.
Task<Run> next_run(BlockDevice* device, uint64_t offset, uint64_t length) {
  Run run;
  while (run.length < length) {
    const std::vector<Extent> extents =
        co_await device->extents(offset + run.length, length - run.length, ExtentScope::kLayer);
    for (const Extent& extent : extents) {
      const bool is_alike = extent.present == run.present && extent.file == run.file;
      if (run.length > 0 && !is_alike) co_return run;
      run.present = extent.present;
      run.file = extent.file;
      run.length += extent.length;
    }
  }
  co_return run;
}

}  // namespace

CopyOnReadDevice::CopyOnReadDevice(std::unique_ptr<BlockDevice> below, std::string filename)
    : FilterDevice(std::move(below), std::move(filename)),
      is_read_only_(FilterDevice::is_read_only()),
      events_(this->below().debug_listener()) {}

// Whole subclusters are copied, as the layer below would otherwise fill in the rest of them itself.
Task<void> CopyOnReadDevice::copy(uint64_t offset, uint64_t length) {
  const uint64_t unit = std::max<uint32_t>(below().limits().preferred_transfer, 1);
  const uint64_t start = align_down(offset, unit);
  const uint64_t end = std::min(align_up(offset + length, unit), size());
  const RangeLock::Guard guard =
      co_await ranges_.acquire(start, end - start, RangeLock::Mode::kExclusive);
  for (uint64_t at = start; at < end;) {
    const Run run = co_await next_run(&below(), at, std::min(end - at, kCopyMax));
    if (!run.present) co_await copy_run(at, run.length);
    at += run.length;
  }
}

Task<void> CopyOnReadDevice::copy_run(uint64_t offset, uint64_t length) {
  Buffer buffer(length);
  const ReadBuffers bytes(buffer.bytes());
  co_await below().read(offset, bytes);
  co_await events_.raise(DebugEvent::kCorWrite);
  if (bytes.is_all_zero()) {
    co_await below().write_zeroes(offset, length, WriteFlags::kNone);
  } else {
    co_await below().write(offset, bytes, WriteFlags::kNone);
  }
}

Task<void> CopyOnReadDevice::do_read(uint64_t offset, ReadBuffers to) {
  if (to.size() > 0) co_await copy(offset, to.size());
  co_await below().read(offset, std::move(to));
}

Task<void> CopyOnReadDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  const RangeLock::Guard guard =
      co_await ranges_.acquire(offset, from.size(), RangeLock::Mode::kShared);
  co_await below().write(offset, std::move(from), flags);
}

Task<void> CopyOnReadDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  const RangeLock::Guard guard = co_await ranges_.acquire(offset, length, RangeLock::Mode::kShared);
  co_await below().write_zeroes(offset, length, flags);
}

Task<void> CopyOnReadDevice::do_discard(uint64_t offset, uint64_t length) {
  const RangeLock::Guard guard = co_await ranges_.acquire(offset, length, RangeLock::Mode::kShared);
  co_await below().discard(offset, length);
}

}  // namespace byre::filter
