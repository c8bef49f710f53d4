// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

enum class RefcountTableKind {
  kUnallocated,  // no block: all its refcounts are 0
  kBlock,        // a refcount block at offset()
  kInvalid,      // the offset is not at the start of a cluster, or past the largest file
};

// A refcount table entry (specification: "Refcount table entry"), host order.
//
//    0 -  8  reserved
//    9 - 63  offset of the refcount block
class RefcountTableEntry {
 public:
  static constexpr uint64_t kOffsetMask = 0xfffffffffffffe00;
  static constexpr uint64_t kReservedMask = ~kOffsetMask;

  constexpr RefcountTableEntry() = default;
  explicit constexpr RefcountTableEntry(uint64_t word) : word_(word) {}
  static constexpr RefcountTableEntry block(HostOffset offset) {
    return RefcountTableEntry(offset.value());
  }

  constexpr uint64_t word() const { return word_; }
  constexpr HostOffset offset() const { return HostOffset(word_ & kOffsetMask); }
  constexpr uint64_t reserved_bits() const { return word_ & kReservedMask; }
  RefcountTableKind kind(const Geometry& geometry) const {
    if (offset().is_zero()) return RefcountTableKind::kUnallocated;
    const bool usable =
        geometry.is_cluster_aligned(offset()) && offset().value() <= limits::kFileSizeMax;
    return usable ? RefcountTableKind::kBlock : RefcountTableKind::kInvalid;
  }

  constexpr bool operator==(const RefcountTableEntry&) const = default;

 private:
  uint64_t word_ = 0;
};

// The refcount at `index` of a refcount block's bytes, 2^refcount_order bits wide (specification:
// "Refcount block entry"). Entries narrower than a byte fill it from the least significant bit.
// REQUIRES: `index` is inside `block`.
uint64_t load_refcount(ConstBytes block, uint64_t index, uint32_t refcount_order);
// REQUIRES: `value` fits the entry.
void store_refcount(Bytes block, uint64_t index, uint32_t refcount_order, uint64_t value);

// How many consecutive entries of [first, first + count), counted from `first`, are 0: a run to
// allocate from.
uint64_t count_free_refcounts(ConstBytes block, uint64_t first, uint64_t count,
                              uint32_t refcount_order);

// The same for runs of entries, from `first` on. Adds one to each, up to the first that is 0 or at
// its maximum; returns how many were changed.
uint64_t increment_refcounts(Bytes block, uint64_t first, uint64_t count, uint32_t refcount_order);
// Subtracts one from each, up to the first that is 0 or 1. Sets *reaches_one if one of them is 1
// now; returns how many were changed.
uint64_t decrement_refcounts(Bytes block, uint64_t first, uint64_t count, uint32_t refcount_order,
                             bool* reaches_one);
// How many are 1, if the first one is, or something else, if it is not.
uint64_t count_alike_refcounts(ConstBytes block, uint64_t first, uint64_t count,
                               uint32_t refcount_order);

}  // namespace byre::qcow2::layout
