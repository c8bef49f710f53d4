// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "qcow2/layout/geometry.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

// What an L1 table entry means.
enum class L1Kind {
  kUnallocated,  // no L2 table: everything that it would describe is unallocated
  kTable,        // an L2 table at offset()
  kInvalid,      // the offset is not at the start of a cluster
};

// An L1 table entry (specification: "L1 table entry"), host order.
//
//    0 -  8  reserved
//    9 - 55  offset of the L2 table
//   56 - 62  reserved
//   63       copied: the refcount of the L2 table is exactly one (active L1 table only)
class L1Entry {
 public:
  static constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
  static constexpr uint64_t kCopied = uint64_t{1} << 63;
  static constexpr uint64_t kReservedMask = ~(kOffsetMask | kCopied);

  constexpr L1Entry() = default;
  explicit constexpr L1Entry(uint64_t word) : word_(word) {}
  static constexpr L1Entry table(HostOffset offset, bool copied) {
    return L1Entry(offset.value() | (copied ? kCopied : 0));
  }

  constexpr uint64_t word() const { return word_; }
  constexpr HostOffset offset() const { return HostOffset(word_ & kOffsetMask); }
  constexpr bool copied() const { return word_ & kCopied; }
  constexpr L1Entry with_copied(bool copied) const {
    return L1Entry((word_ & ~kCopied) | (copied ? kCopied : 0));
  }
  // The reserved bits that are set. They do not change the kind (QEMU reads such images); a checker
  // reports them.
  constexpr uint64_t reserved_bits() const { return word_ & kReservedMask; }
  L1Kind kind(const Geometry& geometry) const {
    if (offset().is_zero()) return L1Kind::kUnallocated;
    return geometry.is_cluster_aligned(offset()) ? L1Kind::kTable : L1Kind::kInvalid;
  }

  constexpr bool operator==(const L1Entry&) const = default;

 private:
  uint64_t word_ = 0;
};

}  // namespace byre::qcow2::layout
