// SPDX-License-Identifier: Apache-2.0
#include "storage/memory_device.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "byre/error.h"

namespace byre::storage {

namespace {

// Answers of extents() stay small.
constexpr size_t kExtentsMax = 1024;

// Calls `visit(chunk offset, offset in chunk, length, done so far)` for each piece of the range
// that lies in one chunk.
template <class F>
void for_each_piece(uint64_t offset, uint64_t length, F visit) {
  uint64_t done = 0;
  while (done < length) {
    const uint64_t at = offset + done;
    const uint64_t in_chunk = at % MemoryDevice::kChunkSize;
    const uint64_t part = std::min(length - done, MemoryDevice::kChunkSize - in_chunk);
    visit(at - in_chunk, in_chunk, part, done);
    done += part;
  }
}

}  // namespace

MemoryDevice::MemoryDevice(uint64_t size, std::string filename)
    : filename_(std::move(filename)), size_(size) {
  BYRE_ASSERT(size <= kSizeMax);
  limits_.can_write_zeroes_unmapped = true;
  limits_.is_zero_initialised = true;
  limits_.grows = true;
}

MemoryDevice::MemoryDevice(ConstBytes contents, std::string filename)
    : MemoryDevice(contents.size(), std::move(filename)) {
  put(0, contents);
}

MemoryDevice::~MemoryDevice() = default;

Task<void> MemoryDevice::read(uint64_t offset, IoVector to) {
  check_range(offset, to.size());
  uint64_t at = offset;
  for (const iovec& segment : to.segments()) {
    uint8_t* const target = static_cast<uint8_t*>(segment.iov_base);
    for_each_piece(at, segment.iov_len,
                   [&](uint64_t chunk, uint64_t in_chunk, uint64_t length, uint64_t done) {
                     const auto found = chunks_.find(chunk);
                     if (found == chunks_.end()) {
                       std::memset(target + done, 0, length);
                     } else {
                       std::memcpy(target + done, found->second.data() + in_chunk, length);
                     }
                   });
    at += segment.iov_len;
  }
  co_return;
}

Task<void> MemoryDevice::write(uint64_t offset, IoVector from, WriteFlags) {
  check_writable(offset, from.size());
  uint64_t at = offset;
  for (const iovec& segment : from.segments()) {
    put(at, {static_cast<const uint8_t*>(segment.iov_base), segment.iov_len});
    at += segment.iov_len;
  }
  co_return;
}

void MemoryDevice::put(uint64_t offset, ConstBytes bytes) {
  BYRE_ASSERT(range_fits(offset, bytes.size(), kSizeMax));
  for_each_piece(offset, bytes.size(),
                 [&](uint64_t chunk, uint64_t in_chunk, uint64_t length, uint64_t done) {
                   Buffer& buffer = chunks_[chunk];
                   if (buffer.size() == 0) buffer = Buffer::zeroed(kChunkSize, sizeof(void*));
                   std::memcpy(buffer.data() + in_chunk, bytes.data() + done, length);
                 });
  if (!bytes.empty()) size_ = std::max(size_, offset + bytes.size());
}

std::vector<uint8_t> MemoryDevice::get(uint64_t offset, size_t length) const {
  BYRE_ASSERT(range_fits(offset, length, size_));
  std::vector<uint8_t> bytes(length);
  for_each_piece(offset, length,
                 [&](uint64_t chunk, uint64_t in_chunk, uint64_t part, uint64_t done) {
                   const auto found = chunks_.find(chunk);
                   if (found == chunks_.end()) return;
                   std::memcpy(bytes.data() + done, found->second.data() + in_chunk, part);
                 });
  return bytes;
}

std::unique_ptr<MemoryDevice> MemoryDevice::clone() const {
  auto copy = std::make_unique<MemoryDevice>(size_, filename_);
  for (const auto& [offset, chunk] : chunks_) {
    copy->put(offset, chunk.bytes());
  }
  copy->size_ = size_;
  copy->is_read_only_ = is_read_only_;
  return copy;
}

// Makes holes of whole chunks and zeroes of parts.
void MemoryDevice::clear(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  const uint64_t end = offset + length;
  auto chunk = chunks_.lower_bound(align_down(offset, kChunkSize));
  while (chunk != chunks_.end() && chunk->first < end) {
    const uint64_t from = std::max(offset, chunk->first) - chunk->first;
    const uint64_t until = std::min(end, chunk->first + kChunkSize) - chunk->first;
    if (until - from == kChunkSize) {
      chunk = chunks_.erase(chunk);
    } else {
      std::memset(chunk->second.data() + from, 0, until - from);
      ++chunk;
    }
  }
}

Task<void> MemoryDevice::write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  check_writable(offset, length);
  clear(offset, length);
  if (length != 0) size_ = std::max(size_, offset + length);
  co_return;
}

Task<void> MemoryDevice::discard(uint64_t offset, uint64_t length) {
  check_range(offset, length);
  check_writable(offset, length);
  clear(offset, length);
  co_return;
}

Task<void> MemoryDevice::flush() {
  co_return;
}

Task<std::vector<Extent>> MemoryDevice::extents(uint64_t offset, uint64_t length, ExtentScope) {
  check_range(offset, length);
  std::vector<Extent> result;
  const uint64_t end = offset + length;
  auto chunk = chunks_.lower_bound(align_down(offset, kChunkSize));
  while (offset < end && result.size() < kExtentsMax) {
    const bool data = chunk != chunks_.end() && chunk->first <= offset;
    uint64_t until = end;
    if (data) {
      uint64_t run_end = chunk->first;
      for (; chunk != chunks_.end() && chunk->first == run_end; ++chunk) run_end += kChunkSize;
      until = std::min(end, run_end);
    } else if (chunk != chunks_.end()) {
      until = std::min(end, chunk->first);
    }
    Extent extent{.offset = offset, .length = until - offset, .present = true};
    extent.data = data;
    extent.zero = !data;
    extent.host_offset = offset;
    extent.file = this;
    result.push_back(extent);
    offset = until;
  }
  co_return result;
}

Task<void> MemoryDevice::resize(uint64_t new_size, Preallocation) {
  check_writable(0, 0);
  if (new_size > kSizeMax) throw Error::from_errno(EFBIG, "Failed to resize the file");
  if (new_size < size_) clear(new_size, size_ - new_size);
  size_ = new_size;
  co_return;
}

Task<void> MemoryDevice::close() {
  co_return;
}

std::optional<uint64_t> MemoryDevice::allocated_size() const {
  return chunks_.size() * kChunkSize;
}

}  // namespace byre::storage
