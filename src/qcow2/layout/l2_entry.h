// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

// What the L2 entry of a whole cluster means. With extended L2 entries only kUnallocated, kNormal,
// kCompressed and kInvalid occur: there, zeroes are a property of subclusters.
enum class ClusterKind : uint8_t {
  kUnallocated,    // read the backing file
  kZeroPlain,      // reads as zeroes, nothing allocated
  kZeroAllocated,  // reads as zeroes, offset() is preallocated
  kNormal,         // data at offset()
  kCompressed,     // data at compressed()
  kInvalid,        // problem() says why
};

// What an L2 entry means for one subcluster; without extended L2 entries, for the cluster.
enum class SubclusterKind : uint8_t {
  kUnallocatedPlain,      // read the backing file; the cluster has no host cluster
  kUnallocatedAllocated,  // read the backing file; the cluster has a host cluster
  kZeroPlain,
  kZeroAllocated,
  kNormal,
  kCompressed,
  kInvalid,
};

// Why an entry is kInvalid.
enum class L2Problem : uint8_t {
  kNone,
  kUnaligned,               // the offset is not at the start of a cluster
  kZeroFlagInVersion2,      // bit 0, which version 2 does not have
  kAllocatedWithoutOffset,  // a subcluster is allocated, but the cluster has no offset
  kAllocatedAndZero,        // a subcluster has both its bits set
  kCompressedOffset,        // offset bits above 55 in a compressed descriptor
  kCompressedInDataFile,    // a compressed cluster in an image with an external data file
};

// The location of a compressed cluster's data: whole sectors; the data may start inside the first
// and end before the end of the last.
struct CompressedRange {
  HostOffset offset;
  uint64_t size = 0;  // bytes from offset to the end of the last sector; at most 2 clusters
  bool operator==(const CompressedRange&) const = default;
};

// A run of equal subclusters.
struct SubclusterRun {
  SubclusterKind kind = SubclusterKind::kInvalid;
  uint32_t count = 0;  // at least 1
};

// An L2 table entry, standard or extended (specification: "L2 table entry", "Extended L2 Entries"),
// host order. `word` is the entry; `bitmap` the second half of an extended one, else 0.
//
// word, standard cluster                 word, compressed cluster (x = 62 - (cluster_bits - 8))
//    0       reads as zeroes (1)           0 - x-1  host offset, any byte
//    1 -  8  reserved                      x - 61   count of additional 512-byte sectors
//    9 - 55  host cluster offset           62       1
//   56 - 61  reserved                      63       0
//   62       0
//   63       copied: refcount is exactly one, or the data is in the external data file
//
// bitmap, standard cluster               bitmap, compressed cluster
//    0 - 31  subcluster is allocated       0 - 63   reserved
//   32 - 63  subcluster reads as zeroes
//
// (1) version 3 without extended L2 entries; elsewhere always 0.
class L2Entry {
 public:
  static constexpr uint64_t kZero = uint64_t{1} << 0;
  static constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
  static constexpr uint64_t kCompressed = uint64_t{1} << 62;
  static constexpr uint64_t kCopied = uint64_t{1} << 63;
  static constexpr uint64_t kReservedMask = 0x3f000000000001fe;
  static constexpr uint64_t kAllAllocated = 0x00000000ffffffff;
  static constexpr uint64_t kAllZero = 0xffffffff00000000;

  constexpr L2Entry() = default;
  explicit constexpr L2Entry(uint64_t word, uint64_t bitmap = 0) : word_(word), bitmap_(bitmap) {}

  // Loads or stores the entry at `index` of an L2 table's bytes (or of a slice that starts there).
  static L2Entry load(ConstBytes table, uint32_t index, const Geometry& geometry);
  void store(Bytes table, uint32_t index, const Geometry& geometry) const;

  // A cluster whose subclusters are all data, all zeroes in an allocated cluster, all zeroes
  // without one.
  static L2Entry normal(HostOffset offset, bool copied, const Geometry& geometry);
  static L2Entry zero_allocated(HostOffset offset, bool copied, const Geometry& geometry);
  static L2Entry zero_plain(const Geometry& geometry);
  // The descriptor of `size` bytes of compressed data at `offset`.
  // REQUIRES: offset + size <= compressed_offset_end(); size is at least 1 and at most one cluster.
  static L2Entry compressed(HostOffset offset, uint64_t size, const Geometry& geometry);

  constexpr uint64_t word() const { return word_; }
  constexpr uint64_t bitmap() const { return bitmap_; }
  constexpr bool is_compressed() const { return word_ & kCompressed; }
  constexpr bool copied() const { return word_ & kCopied; }
  constexpr L2Entry with_copied(bool copied) const {
    return L2Entry((word_ & ~kCopied) | (copied ? kCopied : 0), bitmap_);
  }
  // Standard clusters only.
  constexpr HostOffset offset() const { return HostOffset(word_ & kOffsetMask); }
  // Compressed clusters only.
  CompressedRange compressed_range(const Geometry& geometry) const;

  // Closed: any two words give one of the kinds. Reserved bits do not change it (QEMU reads such
  // images); a checker reports them. Bit 0 is not one of them: in version 2 problem() reports it,
  // and with extended L2 entries it is ignored, as by QEMU's checker.
  ClusterKind kind(const Geometry& geometry) const;
  L2Problem problem(const Geometry& geometry) const;
  uint64_t reserved_bits(const Geometry& geometry) const;  // of word()
  // Of bitmap(), for compressed clusters.
  uint64_t reserved_bitmap_bits(const Geometry& geometry) const;

  // One subcluster; index below subclusters_per_cluster(). kInvalid only if this subcluster is
  // invalid, or the whole entry is (any problem from kUnaligned on).
  SubclusterKind subcluster(uint32_t index, const Geometry& geometry) const;
  // The run of subclusters of one kind that starts at `index`.
  SubclusterRun run(uint32_t index, const Geometry& geometry) const;
  // Whether offset() is the host cluster (or, with an external data file, the cluster there) that
  // the entry refers to.
  bool has_offset(const Geometry& geometry) const;

  // Subclusters [first, first + count) become data, zeroes or unallocated; the others are
  // unchanged.
  // REQUIRES: a standard cluster with extended L2 entries.
  L2Entry with_subclusters_allocated(uint32_t first, uint32_t count) const;
  L2Entry with_subclusters_zero(uint32_t first, uint32_t count) const;
  L2Entry with_subclusters_unallocated(uint32_t first, uint32_t count) const;

  constexpr bool operator==(const L2Entry&) const = default;

 private:
  uint64_t word_ = 0;
  uint64_t bitmap_ = 0;
};

// English for messages and tests: "unallocated", "normal", ...
const char* to_string(ClusterKind kind);
const char* to_string(SubclusterKind kind);
const char* to_string(L2Problem problem);

}  // namespace byre::qcow2::layout
