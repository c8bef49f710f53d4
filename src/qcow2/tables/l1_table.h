// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"

namespace byre::qcow2 {

// The L1 table in use (the active one, or that of the selected snapshot), all of it in memory in
// host byte order. Entries past the end of the file read as 0 and take no memory.
//
// set() changes memory only; write_back() writes the changed parts.
// REQUIRES: before a write_back(), the L2 table that a changed entry names, and its refcount, are
// on disk.
class L1Table {
 public:
  // Reads `size` entries at `offset` of the file. Throws what the read throws.
  // REQUIRES: offset and size have been checked.
  static Task<L1Table> load(BlockDevice* file, uint64_t offset, uint32_t size);
  L1Table() = default;
  // A table that is at `offset` of the file with these entries.
  L1Table(uint64_t offset, std::vector<uint64_t> entries)
      : offset_(offset),
        size_(static_cast<uint32_t>(entries.size())),
        entries_(std::move(entries)) {}

  uint64_t offset() const { return offset_; }
  uint32_t size() const { return size_; }  // entries
  uint64_t entry(uint64_t index) const { return index < entries_.size() ? entries_[index] : 0; }
  void set(uint64_t index, uint64_t entry);
  // Call before set(): allocates the file space that writing this entry back needs, which a sparse
  // file may lack. Throws Error(kNoSpace).
  Task<void> reserve_space(BlockDevice* file, uint64_t index);
  // All of them, `size()` entries.
  std::vector<uint64_t> entries() const;
  // The index of the first entry in [from, to) that is not 0, or `to`.
  uint64_t next_used(uint64_t from, uint64_t to) const;

  bool is_dirty() const { return !dirty_blocks_.empty(); }
  // Not durable before the file is flushed. What could not be written stays dirty.
  Task<void> write_back(BlockDevice* file);
  // The table has moved and grown, and has already been written at its new offset: nothing is
  // dirty.
  void moved(uint64_t new_offset, uint32_t new_size);

 private:
  static constexpr uint64_t kEntriesPerBlock = 512;  // a write is 4 KiB

  uint64_t offset_ = 0;
  uint32_t size_ = 0;
  std::vector<uint64_t> entries_;
  std::set<uint64_t> dirty_blocks_;
  std::set<uint64_t> reserved_blocks_;  // known to have space in the file
};

}  // namespace byre::qcow2
