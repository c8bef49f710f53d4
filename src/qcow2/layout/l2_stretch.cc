// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/l2_stretch.h"

#include <algorithm>

#include "base/assert.h"

namespace byre::qcow2::layout {

namespace {

// The index of the first entry in [index, end) that is not `expected`, which grows by `step` with
// each entry; `end` if there is none.
uint32_t end_of_words(const uint8_t* words, uint32_t index, uint32_t end, uint64_t expected,
                      uint64_t step) {
  while (index < end && load_big_endian<uint64_t>(words + size_t{index} * 8) == expected) {
    ++index;
    expected += step;
  }
  return index;
}

uint32_t end_of_extended(const uint8_t* entries, uint32_t index, uint32_t end, L2Entry expected,
                         uint64_t step) {
  uint64_t word = expected.word();
  while (index < end) {
    const uint8_t* const at = entries + size_t{index} * 16;
    if (load_big_endian<uint64_t>(at) != word) break;
    if (load_big_endian<uint64_t>(at + 8) != expected.bitmap()) break;
    ++index;
    word += step;
  }
  return index;
}

}  // namespace

L2Stretch l2_stretch_at(ConstBytes table, uint32_t index, uint32_t count_max,
                        const Geometry& geometry) {
  const auto entries = static_cast<uint32_t>(table.size() / geometry.l2_entry_size());
  BYRE_ASSERT(index < entries && count_max > 0);
  const uint32_t end = index + std::min(count_max, entries - index);
  L2Stretch stretch{.first = L2Entry::load(table, index, geometry)};
  if (index + 1 == end) return stretch;
  const L2Entry next = L2Entry::load(table, index + 1, geometry);
  const uint64_t step = next.word() - stretch.first.word();
  if ((step != 0 && step != geometry.cluster_size()) || next.bitmap() != stretch.first.bitmap()) {
    return stretch;
  }
  stretch.step = step;
  const L2Entry third(next.word() + step, next.bitmap());
  const uint32_t stop = geometry.extended_l2()
                            ? end_of_extended(table.data(), index + 2, end, third, step)
                            : end_of_words(table.data(), index + 2, end, third.word(), step);
  stretch.count = stop - index;
  return stretch;
}

void store_l2_stretch(const L2Stretch& stretch, Bytes table, uint32_t index,
                      const Geometry& geometry) {
  for (uint32_t i = 0; i < stretch.count; ++i) stretch.entry(i).store(table, index + i, geometry);
}

std::optional<PackedL2> PackedL2::pack(ConstBytes table, const Geometry& geometry,
                                       size_t stretches_max) {
  PackedL2 packed;
  packed.entries_ = static_cast<uint32_t>(table.size() / geometry.l2_entry_size());
  for (uint32_t index = 0; index < packed.entries_;) {
    if (packed.runs_.size() == stretches_max) return std::nullopt;
    const L2Stretch stretch = l2_stretch_at(table, index, packed.entries_, geometry);
    packed.runs_.push_back({stretch.first, index, static_cast<uint32_t>(stretch.step)});
    index += stretch.count;
  }
  packed.runs_.shrink_to_fit();
  return packed;
}

void PackedL2::unpack(Bytes table, const Geometry& geometry) const {
  for (uint32_t index = 0; index < entries_;) {
    const L2Stretch stretch = stretch_at(index, entries_);
    store_l2_stretch(stretch, table, index, geometry);
    index += stretch.count;
  }
}

L2Stretch PackedL2::stretch_at(uint32_t index, uint32_t count_max) const {
  BYRE_ASSERT(index < entries_ && count_max > 0);
  const auto next = std::ranges::upper_bound(runs_, index, {}, &Run::index);
  const Run& run = *std::prev(next);
  const uint32_t end = next == runs_.end() ? entries_ : next->index;
  const uint32_t skipped = index - run.index;
  return {.first = L2Entry(run.first.word() + uint64_t{skipped} * run.step, run.first.bitmap()),
          .step = run.step,
          .count = std::min(count_max, end - index)};
}

}  // namespace byre::qcow2::layout
