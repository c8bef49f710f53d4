// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2 {

// How a repair changes single table entries. It changes one only if the guest then reads what it
// read before, or could read nothing before and nothing is lost. An entry whose data cannot be read
// as things are (an offset inside a cluster or past the end of the file, contradictory subclusters)
// stays as it is: the rest of the file may be yet to come, and a human may know better.
class EntryRepair {
 public:
  // `drops_past_end`: the caller gives up data past the end of the file.
  EntryRepair(const layout::Header& header, uint64_t file_size, bool drops_past_end);

  // The new entry, or nullopt if the entry stays.
  //
  // An L2 table past the end of the file, if that is given up, is removed: it reads as zeroes, as
  // without a table.
  std::optional<layout::L1Entry> repaired(layout::L1Entry entry) const;
  // - A cluster past the end of the file, compressed or not, becomes a zero cluster if the data
  //   there is given up, or if the entry itself says that it reads as zeroes.
  // - A zero cluster whose offset is inside a cluster loses the offset.
  // - A compressed cluster loses the copied flag.
  std::optional<layout::L2Entry> repaired(const layout::L2Entry& entry) const;

  // Whether a region exceeds the end of the file by a cluster or more.
  static bool is_outside(uint64_t offset, uint64_t size, uint64_t file_size, uint64_t cluster_size);

 private:
  bool has_data(const layout::L2Entry& entry) const;
  std::optional<layout::L2Entry> without_place(const layout::L2Entry& entry) const;
  // nullopt if the image's version has no such entry.
  std::optional<layout::L2Entry> all_zeroes() const;

  const layout::Geometry geometry_;
  const uint64_t file_size_;
  const bool has_backing_file_;
  const bool drops_past_end_;
};

}  // namespace byre::qcow2
