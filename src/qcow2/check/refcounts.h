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

// The refcounts as the image has them: counted as clusters in use themselves, compared with the
// references, and looked up.
class StoredRefcounts {
 public:
  // All but the header outlive it.
  StoredRefcounts(const layout::Header& header, CheckerFile* file, ReferenceCounter* references,
                  const CheckOptions* options);

  // Reads the refcount table, as much of it as the file has. Before everything below.
  Task<void> read_table();
  // The references that the refcount table and its blocks are; the last to be counted.
  void count_table();
  // Every refcount against the references. Gives the end of the last cluster that either says is in
  // use.
  Task<uint64_t> compare();

  // What a repair must know.
  //
  // The refcounts should not be repaired where they stand: they say that a cluster in use is free,
  // a block is at an impossible place, cannot be read, or is something else, too. A block past the
  // end of the file that counts nothing in the file waits for the rest of it, if more is expected.
  bool must_be_rebuilt() const {
    return must_be_rebuilt_ || (has_block_past_end_ && !references_->expects_more());
  }
  // They could be, because nothing but their values is wrong.
  bool can_be_written_in_place() const { return !is_structure_bad_ && !is_table_shared_; }
  // The table, or a block that counts clusters of the file, lies past its end: much of the image is
  // not there.
  bool is_past_end() const { return is_past_end_; }
  // Of what the block with that index counts, nothing can be said: it cannot be read, or says that
  // a cluster in use is free.
  bool is_unreliable(uint64_t index) const {
    return unreliable_blocks_.contains(index) || index >= table_.size();
  }
  // The refcount table is something else, too.
  bool is_table_shared() const { return is_table_shared_; }
  layout::RefcountTableEntry entry(uint64_t index) const {
    return index < table_.size() ? table_[index] : layout::RefcountTableEntry();
  }
  uint64_t table_entries() const { return table_.size(); }
  // Whether a cluster can be read there.
  bool can_read(layout::RefcountTableEntry entry) const;
  // The finding of a refcount that is not the number of references: that it was not, but is now;
  // that it still is not, which was counted before.
  enum class Difference { kFound, kRepaired, kLeft };
  void report_difference(uint64_t cluster, uint64_t refcount, uint64_t references,
                         Difference difference);

  // The refcount of a cluster, from the file; nothing where it cannot be read.
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

  struct Place {
    uint64_t offset = 0;  // of the slice in the file
    uint64_t index = 0;   // of the refcount in the slice
    size_t slot = 0;
  };
  Place place_of(layout::RefcountTableEntry entry, uint64_t cluster) const;

  const layout::Geometry geometry_;
  const uint64_t table_offset_;
  const uint64_t table_size_;  // bytes
  CheckerFile* file_;
  ReferenceCounter* references_;
  const CheckOptions* options_;
  std::vector<layout::RefcountTableEntry> table_;
  CheckerFile block_file_;
  ReferenceCounts::PageCounts page_counts_;
  uint64_t used_end_ = 1;  // behind the last cluster in use, which is the header's at least
  bool said_corrupt_ = false;
  bool must_be_rebuilt_ = false;
  bool has_block_past_end_ = false;
  bool is_past_end_ = false;
  bool is_structure_bad_ = false;
  std::unordered_set<uint64_t> unreliable_blocks_;
  bool is_table_shared_ = false;
  // Parts of refcount blocks, for read(): a slot each, by offset.
  const uint64_t slice_size_;
  Buffer slices_;
  std::vector<uint64_t> slice_offsets_;  // what a slot holds; kNoSlice: nothing
  static constexpr uint64_t kNoSlice = UINT64_MAX;
};

}  // namespace byre::qcow2
