// SPDX-License-Identifier: Apache-2.0
#include "storage/null_device.h"

#include <cerrno>
#include <utility>

#include "async/loop.h"
#include "byre/error.h"

namespace byre::storage {

NullDevice::NullDevice(NullOptions options, std::string filename)
    : filename_(std::move(filename)), options_(options) {
  limits_.is_zero_initialised = options.read_zeroes;
  limits_.can_write_zeroes_unmapped = true;
}

Task<void> NullDevice::wait() const {
  co_await Loop::current().sleep_for(options_.latency);
}

Task<void> NullDevice::do_read(uint64_t offset, ReadBuffers to) {
  if (options_.read_zeroes) to.fill_zero();
  if (options_.latency.count() > 0) co_await wait();
}

Task<void> NullDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags) {
  if (options_.latency.count() > 0) co_await wait();
}

Task<void> NullDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  if (options_.latency.count() > 0) co_await wait();
}

Task<void> NullDevice::do_discard(uint64_t offset, uint64_t length) {
  if (options_.latency.count() > 0) co_await wait();
}

Task<void> NullDevice::do_flush() {
  if (options_.latency.count() > 0) co_await wait();
}

Task<std::vector<Extent>> NullDevice::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  std::vector<Extent> result;
  if (length == 0) co_return result;
  Extent extent{.offset = offset, .length = length, .present = true};
  extent.data = !options_.read_zeroes;
  extent.zero = options_.read_zeroes;
  extent.host_offset = offset;
  extent.file = this;
  result.push_back(extent);
  co_return result;
}

Task<void> NullDevice::do_resize(uint64_t, Preallocation) {
  throw Error(ErrorKind::kUnsupported, ENOTSUP, ErrorData{.code = "null-device-not-resized"},
              "a null device cannot be resized");
}

Task<void> NullDevice::do_close() {
  co_return;
}

}  // namespace byre::storage
