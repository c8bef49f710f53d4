// SPDX-License-Identifier: Apache-2.0
#include "storage/sparse_bytes.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace byre::storage {

namespace {

// Calls `visit(chunk offset, offset in chunk, length, done so far)` for each piece of the range
// that is in one chunk.
template <class F>
void for_each_piece(uint64_t offset, uint64_t length, F visit) {
  for (uint64_t done = 0; done < length;) {
    const uint64_t at = offset + done;
    const uint64_t in_chunk = at % SparseBytes::kChunkSize;
    const uint64_t part = std::min(length - done, SparseBytes::kChunkSize - in_chunk);
    visit(at - in_chunk, in_chunk, part, done);
    done += part;
  }
}

}  // namespace

SparseBytes::SparseBytes(uint64_t size) : size_(size) {
  BYRE_ASSERT(size <= INT64_MAX);
}

void SparseBytes::resize(uint64_t size) {
  BYRE_ASSERT(size <= INT64_MAX);
  if (size < size_) clear(size, size_ - size);
  size_ = size;
}

void SparseBytes::read(uint64_t offset, Bytes to) const {
  BYRE_ASSERT(range_fits(offset, to.size(), size_));
  for_each_piece(offset, to.size(),
                 [&](uint64_t chunk, uint64_t in_chunk, uint64_t length, uint64_t done) {
                   const auto found = chunks_.find(chunk);
                   if (found == chunks_.end()) {
                     std::memset(to.data() + done, 0, length);
                   } else {
                     std::memcpy(to.data() + done, found->second->bytes + in_chunk, length);
                   }
                 });
}

uint8_t* SparseBytes::writable_chunk(uint64_t chunk) {
  auto place = chunks_.find(chunk);
  if (place == chunks_.end()) {
    place = chunks_.emplace(chunk, std::make_shared<Chunk>()).first;  // zeroes
  } else if (place->second.use_count() > 1) {
    place->second = std::make_shared<Chunk>(*place->second);
  }
  return place->second->bytes;
}

void SparseBytes::write(uint64_t offset, ConstBytes from) {
  BYRE_ASSERT(range_fits(offset, from.size(), INT64_MAX));
  for_each_piece(offset, from.size(),
                 [&](uint64_t chunk, uint64_t in_chunk, uint64_t length, uint64_t done) {
                   std::memcpy(writable_chunk(chunk) + in_chunk, from.data() + done, length);
                 });
  if (!from.empty()) size_ = std::max(size_, offset + from.size());
}

void SparseBytes::clear(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  BYRE_ASSERT(range_fits(offset, length, INT64_MAX));
  const uint64_t end = offset + length;
  auto chunk = chunks_.lower_bound(align_down(offset, kChunkSize));
  while (chunk != chunks_.end() && chunk->first < end) {
    const uint64_t from = std::max(offset, chunk->first) - chunk->first;
    const uint64_t until = std::min(end, chunk->first + kChunkSize) - chunk->first;
    if (until - from == kChunkSize) {
      chunk = chunks_.erase(chunk);
    } else {
      std::memset(writable_chunk(chunk->first) + from, 0, until - from);
      ++chunk;
    }
  }
  size_ = std::max(size_, end);
}

void SparseBytes::reserve(uint64_t offset, uint64_t length) {
  BYRE_ASSERT(range_fits(offset, length, INT64_MAX));
  for_each_piece(offset, length, [&](uint64_t chunk, uint64_t, uint64_t, uint64_t) {
    if (!chunks_.contains(chunk)) writable_chunk(chunk);
  });
}

SparseBytes::Extent SparseBytes::extent_at(uint64_t offset, uint64_t length) const {
  const uint64_t end = offset + length;
  auto chunk = chunks_.lower_bound(align_down(offset, kChunkSize));
  const bool data = chunk != chunks_.end() && chunk->first <= offset;
  if (!data) {
    const uint64_t hole_end = chunk == chunks_.end() ? end : std::min(end, chunk->first);
    return {hole_end - offset, false};
  }
  uint64_t run_end = chunk->first;
  for (; chunk != chunks_.end() && chunk->first == run_end && run_end < end; ++chunk) {
    run_end += kChunkSize;
  }
  return {std::min(end, run_end) - offset, true};
}

uint64_t SparseBytes::missing_in(uint64_t offset, uint64_t length) const {
  uint64_t missing = 0;
  for_each_piece(offset, length, [&](uint64_t chunk, uint64_t, uint64_t, uint64_t) {
    if (!chunks_.contains(chunk)) missing += kChunkSize;
  });
  return missing;
}

std::vector<byre::Extent> extents_of(const SparseBytes& bytes, uint64_t offset, uint64_t length,
                                     size_t extents_max, BlockDevice* device) {
  std::vector<byre::Extent> result;
  const uint64_t end = offset + length;
  while (offset < end && result.size() < extents_max) {
    const SparseBytes::Extent run = bytes.extent_at(offset, end - offset);
    byre::Extent extent{.offset = offset, .length = run.length, .present = true};
    extent.data = run.data;
    extent.zero = !run.data;
    extent.host_offset = offset;
    extent.file = device;
    result.push_back(extent);
    offset += run.length;
  }
  return result;
}

}  // namespace byre::storage
