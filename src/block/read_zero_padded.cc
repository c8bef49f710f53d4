// SPDX-License-Identifier: Apache-2.0
#include "block/read_zero_padded.h"

#include <utility>

#include "async/ready.h"
#include "base/checked.h"

namespace byre {

Task<void> read_zero_padded(BlockDevice* device, uint64_t offset, ReadBuffers to) {
  const uint64_t size = device->size();
  if (range_fits(offset, to.size(), size)) return device->read(offset, std::move(to));
  const uint64_t stored = offset < size ? size - offset : 0;
  to.slice(stored).fill_zero();
  return stored > 0 ? device->read(offset, to.slice(0, stored)) : ready();
}

}  // namespace byre
