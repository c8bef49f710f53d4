// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "qcow2/image_state.h"

namespace byre::qcow2 {

namespace {

Error no_writing() { return Error(ErrorKind::kUnsupported, ENOTSUP, "Writing is not supported"); }

}  // namespace

Task<void> Image::write(uint64_t offset, IoVector from, WriteFlags) {
  check_writable(offset, from.size());
  throw no_writing();
  co_return;
}

Task<void> Image::write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  check_writable(offset, length);
  throw no_writing();
  co_return;
}

Task<void> Image::discard(uint64_t offset, uint64_t length) {
  check_writable(offset, length);
  throw no_writing();
  co_return;
}

Task<void> Image::flush() { co_return; }

Task<void> Image::State::finish_writing() { co_return; }

Task<void> Image::resize(uint64_t, Preallocation) {
  check_writable(0, 0);
  throw no_writing();
  co_return;
}

}  // namespace byre::qcow2
