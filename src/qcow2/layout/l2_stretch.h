// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2::layout {

// Consecutive entries of an L2 table that follow from the first one: each is its predecessor with
// `step` added to its word, and has the same bitmap. Consecutive host clusters have a step of one
// cluster, unallocated ones a step of 0. This says nothing about what the entries mean, or whether
// they are valid.
struct L2Stretch {
  L2Entry first;
  uint64_t step = 0;   // 0 or the cluster size
  uint32_t count = 1;  // entries, the first one included

  constexpr L2Entry entry(uint32_t index) const {
    return L2Entry(first.word() + index * step, first.bitmap());
  }
  bool operator==(const L2Stretch&) const = default;
};

// The longest stretch that begins at entry `index` of an L2 table's bytes (or of a slice of one),
// of at most `count_max` entries (at least 1); it does not extend past `table`.
L2Stretch l2_stretch_at(ConstBytes table, uint32_t index, uint32_t count_max,
                        const Geometry& geometry);
// Stores all entries of a stretch, the first one at `index`.
void store_l2_stretch(const L2Stretch& stretch, Bytes table, uint32_t index,
                      const Geometry& geometry);

// The entries of an L2 table, or of a slice of one, as stretches: some bytes instead of kilobytes,
// because clusters are mostly in the order in which the guest wrote them.
class PackedL2 {
 public:
  // nullopt if that takes more than `stretches_max` stretches.
  static std::optional<PackedL2> pack(ConstBytes table, const Geometry& geometry,
                                      size_t stretches_max);
  // REQUIRES: `table` has the size that was packed.
  void unpack(Bytes table, const Geometry& geometry) const;

  // As l2_stretch_at().
  L2Stretch stretch_at(uint32_t index, uint32_t count_max) const;
  size_t stretches() const { return runs_.size(); }

  // Memory for one stretch.
  static constexpr size_t kStretchBytes = 24;

 private:
  struct Run {
    L2Entry first;
    uint32_t index = 0;
    uint32_t step = 0;
  };
  static_assert(sizeof(Run) == kStretchBytes);

  std::vector<Run> runs_;
  uint32_t entries_ = 0;
};

}  // namespace byre::qcow2::layout
