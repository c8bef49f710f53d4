// SPDX-License-Identifier: Apache-2.0
#include "block/read_zero_padded.h"

#include <algorithm>

namespace byre {

Task<void> read_zero_padded(BlockDevice* device, uint64_t offset, ReadBuffers to) {
  const uint64_t size = device->size();
  const uint64_t stored = offset < size ? std::min<uint64_t>(to.size(), size - offset) : 0;
  if (stored == to.size()) {
    co_await device->read(offset, std::move(to));
    co_return;
  }
  to.slice(stored).fill_zero();
  if (stored > 0) co_await device->read(offset, to.slice(0, stored));
}

}  // namespace byre
