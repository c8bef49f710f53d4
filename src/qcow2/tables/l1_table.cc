// SPDX-License-Identifier: Apache-2.0
#include "qcow2/tables/l1_table.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/checked.h"
#include "block/buffer.h"

namespace byre::qcow2 {

namespace {

constexpr uint64_t kEntrySize = 8;
// Bytes read and decoded at once, so that the table is not in memory twice.
constexpr uint64_t kReadSize = 1 << 20;

}  // namespace

Task<L1Table> L1Table::load(BlockDevice* file, uint64_t offset, uint32_t size) {
  L1Table table;
  table.offset_ = offset;
  table.size_ = size;
  const uint64_t file_size = file->size();
  const uint64_t stored_bytes =
      offset < file_size ? std::min(file_size - offset, size * kEntrySize) : 0;
  // An entry cut by the end of the file reads as if zeroes followed.
  table.entries_.resize(div_ceil(stored_bytes, kEntrySize));
  Buffer buffer(std::min(align_up(stored_bytes, kEntrySize), kReadSize));
  for (uint64_t done = 0; done < stored_bytes; done += buffer.size()) {
    const size_t length = std::min<uint64_t>(buffer.size(), stored_bytes - done);
    const Bytes part = buffer.bytes(0, align_up(length, kEntrySize));
    std::ranges::fill(part.subspan(length), uint8_t{0});
    const ReadBuffers to(part.first(length));
    co_await file->read(offset + done, to);
    for (size_t at = 0; at < part.size(); at += kEntrySize) {
      table.entries_[(done + at) / kEntrySize] = load_big_endian<uint64_t>(&part[at]);
    }
  }
  co_return table;
}

void L1Table::set(uint64_t index, uint64_t entry) {
  BYRE_ASSERT(index < size_);
  // Allocations that may fail come first: once an entry is set it will be written.
  if (index >= entries_.size()) entries_.resize(index + 1);
  dirty_blocks_.insert(index / kEntriesPerBlock);
  entries_[index] = entry;
}

Task<void> L1Table::reserve_space(BlockDevice* file, uint64_t index) {
  const uint64_t block = index / kEntriesPerBlock;
  if (reserved_blocks_.contains(block)) co_return;
  const uint64_t first = block * kEntriesPerBlock;
  const uint64_t count = std::min<uint64_t>(kEntriesPerBlock, size_ - first);
  co_await file->reserve_space(offset_ + first * kEntrySize, count * kEntrySize);
  reserved_blocks_.insert(block);
}

std::vector<uint64_t> L1Table::entries() const {
  std::vector<uint64_t> all = entries_;
  all.resize(size_);
  return all;
}

uint64_t L1Table::next_used(uint64_t from, uint64_t to) const {
  const uint64_t end = std::min<uint64_t>(to, entries_.size());
  for (uint64_t index = from; index < end; ++index) {
    if (entries_[index] != 0) return index;
  }
  return to;
}

Task<void> L1Table::write_back(BlockDevice* file) {
  Buffer buffer(kEntriesPerBlock * kEntrySize);
  uint8_t* const bytes = buffer.data();
  while (!dirty_blocks_.empty()) {
    const uint64_t block = *dirty_blocks_.begin();
    const uint64_t first = block * kEntriesPerBlock;
    const uint64_t count = std::min<uint64_t>(kEntriesPerBlock, size_ - first);
    for (uint64_t i = 0; i < count; ++i) {
      store_big_endian(&bytes[i * kEntrySize], entry(first + i));
    }
    // Extracted as a node, so that putting it back does not allocate.
    std::set<uint64_t>::node_type written = dirty_blocks_.extract(block);
    std::exception_ptr error;
    const ConstBytes from(bytes, count * kEntrySize);
    try {
      co_await DebugEvents(file->debug_listener()).raise(DebugEvent::kL1Update);
      co_await file->write(offset_ + first * kEntrySize, from);
    } catch (...) {
      error = std::current_exception();
    }
    if (error) {
      dirty_blocks_.insert(std::move(written));
      std::rethrow_exception(error);
    }
  }
}

void L1Table::moved(uint64_t new_offset, uint32_t new_size) {
  offset_ = new_offset;
  size_ = new_size;
  if (entries_.size() > size_) entries_.resize(size_);
  dirty_blocks_.clear();
  reserved_blocks_.clear();
}

}  // namespace byre::qcow2
