// SPDX-License-Identifier: Apache-2.0
#include "open/raw_device.h"

#include <algorithm>

#include "base/checked.h"
#include "base/units.h"

namespace byre::open {

uint64_t RawDevice::size() const {
  const uint64_t size = file_->size();
  return size > UINT64_MAX - kSectorSize ? size : align_up(size, kSectorSize);
}

uint64_t RawDevice::stored_length(uint64_t offset, uint64_t length) const {
  const uint64_t size = file_->size();
  return offset < size ? std::min(length, size - offset) : 0;
}

Task<void> RawDevice::read(uint64_t offset, IoVector to) {
  check_range(offset, to.size());
  const uint64_t stored = stored_length(offset, to.size());
  if (stored < to.size()) to.slice(stored).fill_zero();
  if (stored == 0) co_return;
  if (stored == to.size()) {
    co_await file_->read(offset, std::move(to));
  } else {
    co_await file_->read(offset, to.slice(0, stored));
  }
}

Task<void> RawDevice::write(uint64_t offset, IoVector from, WriteFlags flags) {
  return file_->write(offset, std::move(from), flags);
}

Task<void> RawDevice::write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  return file_->write_zeroes(offset, length, flags);
}

Task<void> RawDevice::discard(uint64_t offset, uint64_t length) {
  check_writable(offset, length);
  const uint64_t stored = stored_length(offset, length);
  if (stored > 0) co_await file_->discard(offset, stored);
}

Task<std::vector<Extent>> RawDevice::extents(uint64_t offset, uint64_t length, ExtentScope) {
  check_range(offset, length);
  const uint64_t stored = stored_length(offset, length);
  std::vector<Extent> result;
  if (stored > 0) result = co_await file_->extents(offset, stored, ExtentScope::kLayer);
  for (Extent& extent : result) {
    extent.host_offset = extent.offset;
    extent.file = file_.get();
    extent.present = true;
  }
  const uint64_t known = result.empty() ? 0 : result.back().offset + result.back().length - offset;
  if (known != stored || stored == length) co_return result;
  // The file ends inside its last sector.
  Extent tail{.offset = offset + stored, .length = length - stored, .present = true, .zero = true};
  tail.host_offset = tail.offset;
  tail.file = file_.get();
  result.push_back(tail);
  co_return result;
}

Task<void> RawDevice::resize(uint64_t new_size, Preallocation preallocation) {
  return file_->resize(new_size, preallocation);
}

}  // namespace byre::open
