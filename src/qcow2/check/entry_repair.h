// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2 {

// What a repair makes of single table entries. It changes one only where the guest reads afterwards
// what it read before, or where it could read nothing and nothing is lost. An entry whose data
// cannot be had as things stand (at a place that is not a cluster's start, past the end of the
// file, subclusters that contradict each other) stays as it is: the file may be a part of a whole
// that is yet to come, and somebody may know better.
class EntryRepair {
 public:
  // `drops_past_end`: the caller gives up what lies past the end of the file.
  EntryRepair(const layout::Header& header, uint64_t file_size, bool drops_past_end);

  // The entry to put there instead; nothing: it stays.
  //
  // An L2 table past the end of the file, where that is given up, becomes no table: it reads as
  // zeroes, which is what no table means, too.
  std::optional<layout::L1Entry> repaired(layout::L1Entry entry) const;
  // - A cluster past the end of the file, compressed ones included, becomes a zero cluster where
  //   what lies there is given up, or where the entry says itself that it reads as zeroes.
  // - Zeroes with a place that is not the start of a cluster lose the place.
  // - A compressed cluster loses the copied flag.
  std::optional<layout::L2Entry> repaired(const layout::L2Entry& entry) const;

  // Whether a region goes beyond the end of the file by a cluster or more.
  static bool is_outside(uint64_t offset, uint64_t size, uint64_t file_size, uint64_t cluster_size);

 private:
  bool has_data(const layout::L2Entry& entry) const;
  std::optional<layout::L2Entry> without_place(const layout::L2Entry& entry) const;
  // Nothing where the version has no entry for it.
  std::optional<layout::L2Entry> all_zeroes() const;

  const layout::Geometry geometry_;
  const uint64_t file_size_;
  const bool has_backing_file_;
  const bool drops_past_end_;
};

}  // namespace byre::qcow2
