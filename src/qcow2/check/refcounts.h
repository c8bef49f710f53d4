// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/check/file.h"
#include "qcow2/check/references.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

// The refcounts as the image has them: their own clusters are counted as in use, they are compared
// with the references, and looked up.
class StoredRefcounts {
 public:
  // All arguments but the header must outlive it.
  StoredRefcounts(const layout::Header& header, CheckerFile* file, ReferenceCounter* references,
                  const CheckOptions* options);

  // Reads the refcount table, as much of it as the file has. Call before everything below.
  Task<void> read_table();
  // Counts the references that the refcount table and its blocks are; call after everything else
  // has been counted.
  void count_table();
  // Compares every refcount with the references. Returns the end of the last cluster that either
  // says is in use.
  Task<uint64_t> compare();

  // What a repair needs to know.
  //
  // The refcounts should not be repaired in place: they say that a cluster in use is free, or a
  // block is at an impossible offset, cannot be read, or is also something else. A block past the
  // end of the file that counts nothing in the file waits for the rest of it, if more is expected.
  bool must_be_rebuilt() const {
    return must_be_rebuilt_ || (has_block_past_end_ && !references_->expects_more());
  }
  // They could be repaired in place, because only their values are wrong.
  bool can_be_written_in_place() const { return !is_structure_bad_ && !is_table_shared_; }
  // The table, or a block that counts clusters of the file, is past its end: much of the image is
  // missing.
  bool is_past_end() const { return is_past_end_; }
  // The contents of the block with that index cannot be trusted: it cannot be read, or says that a
  // cluster in use is free.
  bool is_unreliable(uint64_t index) const {
    return unreliable_blocks_.contains(index) || index >= table_.size();
  }
  // The refcount table is also something else.
  bool is_table_shared() const { return is_table_shared_; }
  layout::RefcountTableEntry entry(uint64_t index) const {
    return index < table_.size() ? table_[index] : layout::RefcountTableEntry();
  }
  uint64_t table_entries() const { return table_.size(); }
  // Whether a cluster can be read at that entry's offset.
  bool can_read(layout::RefcountTableEntry entry) const;
  // Reports a refcount that is not the number of references. kFound: it is not. kRepaired: it was
  // not, but is now. kLeft: it still is not, and was counted before.
  enum class Difference { kFound, kRepaired, kLeft };
  void report_difference(uint64_t cluster, uint64_t refcount, uint64_t references,
                         Difference difference);

  // The refcount of a cluster, from the file; nullopt if it cannot be read.
  Task<std::optional<uint64_t>> read(uint64_t cluster);
  // The same, if the part of the block is in memory.
  struct Lookup {
    bool is_known = false;
    std::optional<uint64_t> refcount;
  };
  Lookup find(uint64_t cluster) const;

 private:
  static constexpr uint64_t kSliceSize = 4096;
  static constexpr uint64_t kSlices = 2048;

  void count_block(uint64_t index, layout::RefcountTableEntry entry);
  bool is_unused(uint64_t first, uint64_t count) const;
  Task<bool> load_block(uint64_t index);
  void note_bad_structure();
  void report_unreadable(uint64_t first, uint64_t count);
  bool agrees(ConstBytes block, uint64_t index, uint64_t first, uint64_t count);
  void compare_block(ConstBytes block, uint64_t first, uint64_t count);

  struct Location {
    uint64_t offset = 0;  // of the slice in the file
    uint64_t index = 0;   // of the refcount in the slice
    size_t slot = 0;
  };
  Location location_of(layout::RefcountTableEntry entry, uint64_t cluster) const;

  const layout::Geometry geometry_;
  const uint64_t table_offset_;
  const uint64_t table_size_;  // bytes
  CheckerFile* file_;
  ReferenceCounter* references_;
  const CheckOptions* options_;
  std::vector<layout::RefcountTableEntry> table_;
  CheckerFile block_file_;
  ReferenceCounts::PageCounts page_counts_;
  uint64_t used_end_ = 1;  // end of the last cluster in use, at least the header's
  bool has_reported_block_ = false;
  bool must_be_rebuilt_ = false;
  bool has_block_past_end_ = false;
  bool is_past_end_ = false;
  bool is_structure_bad_ = false;
  std::unordered_set<uint64_t> unreliable_blocks_;
  bool is_table_shared_ = false;
  // Parts of refcount blocks, for read(): one per slot, by offset.
  const uint64_t slice_size_;
  Buffer slices_;
  std::vector<uint64_t> slice_offsets_;  // the offset that a slot holds, or kNoSlice
  static constexpr uint64_t kNoSlice = UINT64_MAX;
};

}  // namespace byre::qcow2
