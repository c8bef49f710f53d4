// SPDX-License-Identifier: Apache-2.0
#include "filter/write_through_device.h"

namespace byre::filter {

Task<void> WriteThroughDevice::discard(uint64_t offset, uint64_t length) {
  co_await below().discard(offset, length);
  co_await below().flush();
}

Task<void> WriteThroughDevice::resize(uint64_t new_size, Preallocation preallocation) {
  co_await below().resize(new_size, preallocation);
  co_await below().flush();
}

}  // namespace byre::filter
