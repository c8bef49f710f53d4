// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "byre/error.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

// The data of the bitmaps extension (specification: "Bitmaps extension"), validated by parse().
struct BitmapsExtension {
  uint32_t bitmap_count = 0;    // nb_bitmaps
  uint64_t directory_size = 0;  // bytes
  HostOffset directory_offset;

  bool operator==(const BitmapsExtension&) const = default;

  static constexpr size_t kSize = 24;
  // Throws Error(kCorrupt or kUnsupported) with field and value.
  static BitmapsExtension parse(ConstBytes data, uint64_t cluster_size);
  std::vector<uint8_t> encode() const;

  // Checks what QEMU checks only when it reads the directory: that it is not empty, and that it is
  // inside the largest device. Call it before memory for the directory is allocated; directory_size
  // is bounded then.
  void check_directory() const;
};

// The fixed part of a bitmap directory entry (specification: "Bitmap directory").
struct RawBitmapEntry {
  Be64 table_offset;
  Be32 table_size;
  Be32 flags;
  uint8_t type;
  uint8_t granularity_bits;
  Be16 name_size;
  Be32 extra_data_size;
};
static_assert(sizeof(RawBitmapEntry) == 24 && alignof(RawBitmapEntry) == 1);
static_assert(offsetof(RawBitmapEntry, table_size) == 8);
static_assert(offsetof(RawBitmapEntry, flags) == 12);
static_assert(offsetof(RawBitmapEntry, type) == 16);
static_assert(offsetof(RawBitmapEntry, granularity_bits) == 17);
static_assert(offsetof(RawBitmapEntry, name_size) == 18);
static_assert(offsetof(RawBitmapEntry, extra_data_size) == 20);

namespace bitmap_flag {
inline constexpr uint32_t kInUse = 1u << 0;
inline constexpr uint32_t kAuto = 1u << 1;
inline constexpr uint32_t kExtraDataCompatible = 1u << 2;
inline constexpr uint32_t kKnown = kInUse | kAuto | kExtraDataCompatible;
}  // namespace bitmap_flag

inline constexpr uint8_t kDirtyTrackingBitmap = 1;  // the only type

// A bitmap directory entry, host order, validated.
struct BitmapEntry {
  HostOffset table_offset;
  uint32_t table_size = 0;  // entries
  uint32_t flags = 0;
  uint8_t type = kDirtyTrackingBitmap;
  uint8_t granularity_bits = 16;
  std::string name;
  std::vector<uint8_t> extra_data;

  bool operator==(const BitmapEntry&) const = default;

  bool in_use() const { return flags & bitmap_flag::kInUse; }
  bool is_auto() const { return flags & bitmap_flag::kAuto; }
  uint64_t granularity() const { return uint64_t{1} << granularity_bits; }
  // Whether the bitmap may be used: it has no extra data, or data that may be ignored.
  bool extra_data_allows_use() const {
    return extra_data.empty() || (flags & bitmap_flag::kExtraDataCompatible);
  }

  uint64_t encoded_size() const;  // a multiple of 8
  std::string text() const;       // the name as it is shown
  void encode_to(std::vector<uint8_t>& directory) const;
};

// Bytes of bitmap data for a disk of that size, and the number of bitmap table entries that they
// need.
uint64_t bitmap_data_size(uint64_t disk_size, uint32_t granularity_bits);
uint64_t bitmap_table_entries_for(uint64_t disk_size, uint32_t granularity_bits,
                                  const Geometry& geometry);

// `bytes` has extension.directory_size bytes. Throws Error(kCorrupt or kUnsupported) with entry and
// field. The names of bitmaps that are not in use are then known to be unique. Extra data, which
// QEMU refuses, is legal and kept: see extra_data_allows_use().
std::vector<BitmapEntry> parse_bitmap_directory(ConstBytes bytes, const BitmapsExtension& extension,
                                                const Geometry& geometry, uint64_t disk_size);

// A bitmap directory in which some entries break the rules.
struct BrokenBitmap {
  size_t index = 0;  // of the directory entry, as far as entries can be told apart
  std::string name;  // empty: it cannot be read
  Error reason;
};
struct ReadableBitmaps {
  std::vector<BitmapEntry> bitmaps;  // those that parse_bitmap_directory() would accept
  std::vector<BrokenBitmap> broken;
  bool is_count_wrong = false;  // the header extension has another number of bitmaps
};
// The same without failing. After an entry whose size is unknown, searches for the next entry that
// keeps the rules.
ReadableBitmaps read_bitmap_directory(ConstBytes bytes, const BitmapsExtension& extension,
                                      const Geometry& geometry, uint64_t disk_size);
std::vector<uint8_t> encode_bitmap_directory(const std::vector<BitmapEntry>& bitmaps);

enum class BitmapTableKind {
  kZeroes,   // this part of the bitmap is all zeroes, nothing allocated
  kOnes,     // all ones, nothing allocated
  kCluster,  // the bits are at offset()
  kInvalid,  // reserved bits, or an offset that is not at the start of a cluster
};

// A bitmap table entry (specification: "Bitmap table"), host order.
//
//    0       without an offset: reads as ones; with one: reserved
//    1 -  8  reserved
//    9 - 55  offset of the cluster with the bits
//   56 - 63  reserved
class BitmapTableEntry {
 public:
  static constexpr uint64_t kOnes = 1;
  static constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
  static constexpr uint64_t kReservedMask = ~(kOffsetMask | kOnes);

  constexpr BitmapTableEntry() = default;
  explicit constexpr BitmapTableEntry(uint64_t word) : word_(word) {}
  static constexpr BitmapTableEntry zeroes() { return BitmapTableEntry(0); }
  static constexpr BitmapTableEntry ones() { return BitmapTableEntry(kOnes); }
  static constexpr BitmapTableEntry cluster(HostOffset offset) {
    return BitmapTableEntry(offset.value());
  }

  constexpr uint64_t word() const { return word_; }
  constexpr HostOffset offset() const { return HostOffset(word_ & kOffsetMask); }
  constexpr uint64_t reserved_bits() const {
    return word_ & (offset().is_zero() ? kReservedMask : kReservedMask | kOnes);
  }
  BitmapTableKind kind(const Geometry& geometry) const;

  constexpr bool operator==(const BitmapTableEntry&) const = default;

 private:
  uint64_t word_ = 0;
};

}  // namespace byre::qcow2::layout
