// SPDX-License-Identifier: Apache-2.0
#include "storage/direct_io.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/checked.h"
#include "block/buffer.h"

namespace byre::storage {

namespace {

// Transfers through a buffer are split into pieces of this size.
constexpr uint64_t kPieceSize = 1 << 20;

}  // namespace

bool DirectIo::is_aligned(uint64_t offset, const IoVector& memory) const {
  if (!byre::is_aligned(offset, request_alignment_)) return false;
  for (const iovec& segment : memory.segments()) {
    if (!byre::is_aligned(reinterpret_cast<uintptr_t>(segment.iov_base), memory_alignment_) ||
        !byre::is_aligned(segment.iov_len, request_alignment_)) {
      return false;
    }
  }
  return true;
}

Task<int> DirectIo::read(uint64_t offset, ReadBuffers to, size_t* done) {
  *done = 0;
  if (is_aligned(offset, to)) {
    const int error = co_await file_->read(offset, to, done);
    co_return error;
  }
  Buffer buffer;
  while (*done < to.size()) {
    const uint64_t at = offset + *done;
    const uint64_t start = align_down(at, request_alignment_);
    const uint64_t until =
        std::min(align_up(offset + to.size(), request_alignment_), start + kPieceSize);
    if (buffer.size() < until - start) buffer = Buffer(until - start, memory_alignment_);
    const ReadBuffers piece(buffer.bytes(0, until - start));
    size_t read = 0;
    const int error = co_await file_->read(start, piece, &read);
    if (error != 0) co_return error;
    if (read <= at - start) break;
    const size_t wanted = std::min<size_t>(read - (at - start), to.size() - *done);
    to.slice(*done, wanted).copy_from(buffer.bytes(at - start, wanted));
    *done += wanted;
    if (read < until - start) break;
  }
  co_return 0;
}

Task<int> DirectIo::write(uint64_t offset, WriteBuffers from, bool durable) {
  if (is_aligned(offset, from)) {
    const int error = co_await write_aligned(offset, from, durable);
    co_return error;
  }
  size_t done = 0;
  while (done < from.size()) {
    const uint64_t at = offset + done;
    const uint64_t until = align_down(at, request_alignment_) + kPieceSize;
    const size_t length = std::min<uint64_t>(from.size() - done, until - at);
    const WriteBuffers piece = from.slice(done, length);
    const int error = co_await write_piece(at, piece, durable);
    if (error != 0) co_return error;
    done += length;
  }
  co_return 0;
}

Task<int> DirectIo::write_aligned(uint64_t offset, WriteBuffers from, bool durable) {
  const RangeLock::Guard guard =
      co_await ranges_->acquire(offset, from.size(), RangeLock::Mode::kShared);
  const int error = co_await file_->write(offset, from, durable);
  if (error == 0) *file_size_ = std::max(*file_size_, offset + from.size());
  co_return error;
}

// REQUIRES: at most kPieceSize including its edges; any alignment.
Task<int> DirectIo::write_piece(uint64_t offset, WriteBuffers from, bool durable) {
  const uint64_t end = offset + from.size();
  const uint64_t start = align_down(offset, request_alignment_);
  const uint64_t until = align_up(end, request_alignment_);
  // Whether the write extends past the end is only known once no other write can move the end; a
  // write that may do so locks everything after its start.
  const bool may_grow = until > *file_size_;
  const RangeLock::Guard guard = co_await ranges_->acquire(
      start, may_grow ? UINT64_MAX - start : until - start, RangeLock::Mode::kExclusive);
  Buffer buffer(until - start, memory_alignment_);
  const uint64_t last_block = until - request_alignment_;
  if (start != offset) {
    const int error = co_await read_block(start, buffer.data());
    if (error != 0) co_return error;
  }
  if (until != end && (last_block != start || start == offset)) {
    const int error = co_await read_block(last_block, buffer.data() + (last_block - start));
    if (error != 0) co_return error;
  }
  from.copy_to(buffer.bytes(offset - start, from.size()));
  const ReadBuffers whole(buffer.bytes());
  const int error = co_await file_->write(start, whole, durable);
  if (error != 0) co_return error;
  *file_size_ = std::max(*file_size_, end);
  if (until > *file_size_ && ftruncate(file_->fd(), static_cast<off_t>(*file_size_)) != 0) {
    co_return errno;
  }
  co_return 0;
}

Task<int> DirectIo::read_block(uint64_t offset, uint8_t* to) {
  size_t read = 0;
  const ReadBuffers block(to, request_alignment_);
  const int error = co_await file_->read(offset, block, &read);
  if (error == 0) std::memset(to + read, 0, request_alignment_ - read);
  co_return error;
}

}  // namespace byre::storage
