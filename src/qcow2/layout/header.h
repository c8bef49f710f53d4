// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/compression_type.h"
#include "byre/error.h"
#include "qcow2/layout/features.h"
#include "qcow2/layout/limits.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

inline constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"

// The header as stored at the start of the file (specification: "Header"). Version 2 ends before
// incompatible_features; version 3 has at least the fields up to header_length.
struct RawHeader {
  Be32 magic;
  Be32 version;
  Be64 backing_file_offset;
  Be32 backing_file_size;
  Be32 cluster_bits;
  Be64 size;
  Be32 crypt_method;
  Be32 l1_size;
  Be64 l1_table_offset;
  Be64 refcount_table_offset;
  Be32 refcount_table_clusters;
  Be32 nb_snapshots;
  Be64 snapshots_offset;
  // Version 3.
  Be64 incompatible_features;
  Be64 compatible_features;
  Be64 autoclear_features;
  Be32 refcount_order;
  Be32 header_length;
  // Additional fields, present if header_length includes them.
  uint8_t compression_type;
  uint8_t padding[7];
};
static_assert(sizeof(RawHeader) == 112 && alignof(RawHeader) == 1);
static_assert(offsetof(RawHeader, version) == 4);
static_assert(offsetof(RawHeader, backing_file_offset) == 8);
static_assert(offsetof(RawHeader, backing_file_size) == 16);
static_assert(offsetof(RawHeader, cluster_bits) == 20);
static_assert(offsetof(RawHeader, size) == 24);
static_assert(offsetof(RawHeader, crypt_method) == 32);
static_assert(offsetof(RawHeader, l1_size) == 36);
static_assert(offsetof(RawHeader, l1_table_offset) == 40);
static_assert(offsetof(RawHeader, refcount_table_offset) == 48);
static_assert(offsetof(RawHeader, refcount_table_clusters) == 56);
static_assert(offsetof(RawHeader, nb_snapshots) == 60);
static_assert(offsetof(RawHeader, snapshots_offset) == 64);
static_assert(offsetof(RawHeader, incompatible_features) == 72);
static_assert(offsetof(RawHeader, compatible_features) == 80);
static_assert(offsetof(RawHeader, autoclear_features) == 88);
static_assert(offsetof(RawHeader, refcount_order) == 96);
static_assert(offsetof(RawHeader, header_length) == 100);
static_assert(offsetof(RawHeader, compression_type) == 104);

enum class CryptMethod : uint32_t { kNone = 0, kAes = 1, kLuks = 2 };

// How an image will be used, as far as that decides what its header may contain.
struct HeaderUse {
  bool writable = false;  // refuses an image with the corrupt bit, unless for_check
  // A checker or repairer: accepts the corrupt bit and a missing refcount table.
  bool for_check = false;
};

// A header in host order, validated: every value that parse() accepts is one that the engine can
// work with, except that the areas it points to may be past the end of the file (they read as
// zeroes, as in QEMU). The extensions and the backing file name after the header belong to
// HeaderCluster.
struct Header {
  uint32_t version = 3;
  uint64_t backing_file_offset = 0;  // 0: no backing file
  uint32_t backing_file_size = 0;
  uint32_t cluster_bits = 16;
  uint64_t size = 0;  // of the guest's disk, in bytes
  CryptMethod crypt_method = CryptMethod::kNone;
  uint32_t l1_size = 0;  // entries
  HostOffset l1_table_offset;
  HostOffset refcount_table_offset;
  uint32_t refcount_table_clusters = 0;
  uint32_t snapshot_count = 0;  // nb_snapshots
  HostOffset snapshots_offset;
  // Version 2 has none of these; parse() fills in the values that the specification assumes.
  uint64_t incompatible_features = 0;
  uint64_t compatible_features = 0;
  uint64_t autoclear_features = 0;
  uint32_t refcount_order = 4;
  uint32_t header_length = limits::kHeaderSizeWritten;
  CompressionType compression_type = CompressionType::kZlib;
  // The bytes after compression_type up to header_length: padding, and fields of later revisions,
  // which must be kept when the header is rewritten.
  std::vector<uint8_t> additional_fields;

  bool operator==(const Header&) const = default;

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  uint32_t refcount_bits() const { return uint32_t{1} << refcount_order; }
  bool has_backing_file() const { return backing_file_offset != 0; }
  bool is_dirty() const { return incompatible_features & incompatible::kDirty; }
  bool is_corrupt() const { return incompatible_features & incompatible::kCorrupt; }
  bool has_external_data_file() const {
    return incompatible_features & incompatible::kExternalDataFile;
  }
  bool has_extended_l2() const { return incompatible_features & incompatible::kExtendedL2; }
  bool has_lazy_refcounts() const { return compatible_features & compatible::kLazyRefcounts; }
  bool has_raw_external_data() const { return autoclear_features & autoclear::kRawExternalData; }

  // The cluster size, from the first kProbeSize bytes of the file (padded with zeroes if the file
  // is shorter), so that the caller can read the first cluster. Throws as parse() does if magic,
  // version or cluster_bits are bad.
  static constexpr size_t kProbeSize = 512;
  static uint64_t probe_cluster_size(ConstBytes first_bytes);

  // `first_cluster` has cluster_size bytes from offset 0, padded with zeroes if the file is
  // shorter. Throws Error(kCorrupt or kUnsupported) with field and value, in QEMU's order of checks.
  // The caller adds the file's name.
  static Header parse(ConstBytes first_cluster, HeaderUse use = {});

  // Checks the number of snapshots and the offset of their table. parse() does it only for an image
  // that will be written; a reader can do without the snapshots.
  void check_snapshot_table() const;

  // header_length bytes (72 for version 2), to be written at offset 0.
  std::vector<uint8_t> encode() const;
};

}  // namespace byre::qcow2::layout
