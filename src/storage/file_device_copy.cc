// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "storage/file_device.h"

namespace byre::storage {
namespace {

// Nothing was copied for lack of bytes: the source was truncated meanwhile.
constexpr int kSourceEnded = -1;

// 0, a positive errno, or kSourceEnded.
int copy_whole_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t length) {
  auto in = static_cast<off_t>(from_offset);
  auto out = static_cast<off_t>(to_offset);
  while (length != 0) {
    const ssize_t copied = copy_file_range(from, &in, to, &out, length, 0);
    if (copied == 0) return kSourceEnded;
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0) return errno;
    length -= static_cast<uint64_t>(copied);
  }
  return 0;
}

// What the kernel returns if the two files, or their file systems, are not compatible.
bool is_refusal(int error) {
  return error == kSourceEnded || error == EOPNOTSUPP || error == ENOSYS || error == EXDEV ||
         error == EINVAL || error == EBADF || error == ETXTBSY || error == EPERM;
}

}  // namespace

Task<bool> FileDevice::do_copy_from(HostRange source, uint64_t offset, uint64_t length) {
  if (length == 0) co_return true;
  const NotedWrite noted(this, offset + length);
  const auto guard = co_await ranges_.acquire(offset, length, RangeLock::Mode::kShared);
  const auto copy = [source, to = file_.fd(), offset, length] {
    return copy_whole_range(source.fd, source.offset, to, offset, length);
  };
  const int error = co_await file_.run_blocking(copy);
  if (is_refusal(error)) co_return false;
  if (error != 0) fail(error, "file-copy-failed", "copy to", offset, length);
  size_ = std::max(size_, offset + length);
  ++writes_done_;
  if (is_durable(WriteFlags::kNone)) co_await make_durable();
  co_return true;
}

}  // namespace byre::storage
