// SPDX-License-Identifier: Apache-2.0
// The order of the checks is QEMU's: if a header has two errors, both programs report the same one.
#include "qcow2/layout/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/checked.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/snapshot.h"

namespace byre::qcow2::layout {
namespace {

[[noreturn]] void corrupt(std::string message, std::string hint) {
  throw Error(ErrorKind::kCorrupt, EINVAL, std::move(message), std::move(hint));
}

[[noreturn]] void too_big(std::string message, std::string hint) {
  throw Error(ErrorKind::kUnsupported, EFBIG, std::move(message), std::move(hint));
}

[[noreturn]] void unsupported(std::string message, std::string hint) {
  throw Error(ErrorKind::kUnsupported, ENOTSUP, std::move(message), std::move(hint));
}

RawHeader load_raw(ConstBytes first_bytes) {
  RawHeader raw{};
  if (first_bytes.empty()) return raw;
  std::memcpy(static_cast<void*>(&raw), first_bytes.data(),
              std::min(first_bytes.size(), sizeof raw));
  return raw;
}

void check_start(const RawHeader& raw) {
  if (raw.magic != kMagic) {
    corrupt("Image is not in qcow2 format",
            fmt::format("the magic number is 0x{:08x}, not 0x{:08x}", uint32_t{raw.magic}, kMagic));
  }
  if (raw.version != 2 && raw.version != 3) {
    unsupported(fmt::format("Unsupported qcow2 version {}", uint32_t{raw.version}),
                "version must be 2 or 3");
  }
  const uint32_t cluster_bits = raw.cluster_bits;
  if (cluster_bits < limits::kClusterBitsMin || cluster_bits > limits::kClusterBitsMax) {
    unsupported(fmt::format("Unsupported cluster size: 2^{}", cluster_bits),
                fmt::format("cluster_bits is {}; it must be from {} to {}", cluster_bits,
                            limits::kClusterBitsMin, limits::kClusterBitsMax));
  }
}

// Fields that version 2 does not have keep their defaults.
Header load_version3(const RawHeader& raw, ConstBytes first_cluster, Header header) {
  header.incompatible_features = raw.incompatible_features;
  header.compatible_features = raw.compatible_features;
  header.autoclear_features = raw.autoclear_features;
  header.refcount_order = raw.refcount_order;
  header.header_length = raw.header_length;
  if (header.header_length > header.cluster_size()) {
    corrupt("qcow2 header exceeds cluster size",
            fmt::format("header_length is {}, the cluster size {}", header.header_length,
                        header.cluster_size()));
  }
  if (header.header_length < limits::kHeaderSizeV3Min) {
    corrupt("qcow2 header too short", fmt::format("header_length is {}; version 3 has at least {}",
                                                  header.header_length, limits::kHeaderSizeV3Min));
  }
  const size_t additional = limits::kHeaderSizeV3Min + 1;
  if (header.header_length > additional) {
    const ConstBytes bytes = first_cluster.subspan(additional, header.header_length - additional);
    header.additional_fields.assign(bytes.begin(), bytes.end());
  }
  return header;
}

Header load(const RawHeader& raw, ConstBytes first_cluster) {
  Header header;
  header.version = raw.version;
  header.backing_file_offset = raw.backing_file_offset;
  header.backing_file_size = raw.backing_file_size;
  header.cluster_bits = raw.cluster_bits;
  header.size = raw.size;
  header.crypt_method = static_cast<CryptMethod>(uint32_t{raw.crypt_method});
  header.l1_size = raw.l1_size;
  header.l1_table_offset = HostOffset(raw.l1_table_offset);
  header.refcount_table_offset = HostOffset(raw.refcount_table_offset);
  header.refcount_table_clusters = raw.refcount_table_clusters;
  header.snapshot_count = raw.nb_snapshots;
  header.snapshots_offset = HostOffset(raw.snapshots_offset);
  header.header_length = limits::kHeaderSizeV2;
  if (header.version == 2) return header;
  return load_version3(raw, first_cluster, std::move(header));
}

// If header_length ends before the field, it is absent, which means zlib.
void load_compression_type(const RawHeader& raw, Header& header) {
  const bool present = header.header_length > limits::kHeaderSizeV3Min;
  const uint8_t type = present ? raw.compression_type : 0;
  const std::string hint = fmt::format("compression_type is {}, incompatible_features 0x{:x}", type,
                                       header.incompatible_features);
  if (type > static_cast<uint8_t>(CompressionType::kZstd)) {
    unsupported(fmt::format("qcow2: unknown compression type: {}", type), hint);
  }
  const bool bit = header.incompatible_features & incompatible::kCompressionType;
  if (type == 0 && bit) {
    corrupt("qcow2: Compression type incompatible feature bit must not be set", hint);
  }
  if (type != 0 && !bit) {
    corrupt("qcow2: Compression type incompatible feature bit must be set", hint);
  }
  header.compression_type = static_cast<CompressionType>(type);
}

void check_features(ConstBytes first_cluster, const Header& header, HeaderUse use) {
  const uint64_t unknown = header.incompatible_features & ~incompatible::kKnown;
  if (unknown != 0) {
    unsupported("Unsupported qcow2 feature(s): " +
                    feature_list(unknown, readable_feature_names(first_cluster, header)),
                fmt::format("incompatible_features is 0x{:x}", header.incompatible_features));
  }
  if (header.is_corrupt() && use.writable && !use.for_check) {
    throw Error(ErrorKind::kPermission, EACCES,
                "qcow2: Image is corrupt; cannot be opened read/write",
                "bit 1 of incompatible_features is set; a repair clears it");
  }
  if (header.has_extended_l2() && header.cluster_bits < limits::kClusterBitsMinExtendedL2) {
    corrupt(fmt::format("Unsupported subcluster size: {}",
                        header.cluster_size() / limits::kSubclustersPerCluster),
            fmt::format("cluster_bits is {}; extended L2 entries need at least {}",
                        header.cluster_bits, limits::kClusterBitsMinExtendedL2));
  }
  if (header.refcount_order > limits::kRefcountOrderMax) {
    corrupt("Reference count entry width too large; may not exceed 64 bits",
            fmt::format("refcount_order is {}", header.refcount_order));
  }
}

// Whether a contiguous table of `size` bytes can be there: it begins at the start of a cluster, and
// ends at a valid offset.
bool is_table_place(HostOffset offset, uint64_t size, const Header& header) {
  return is_aligned(offset.value(), header.cluster_size()) &&
         range_fits(offset.value(), size, limits::kFileSizeMax);
}

void check_refcount_table(const Header& header, HeaderUse use) {
  const uint64_t size = uint64_t{header.refcount_table_clusters} << header.cluster_bits;
  if (size > limits::kRefcountTableSizeMax) {
    too_big("Reference count table too large",
            fmt::format("refcount_table_clusters is {}; at most {} bytes are supported",
                        header.refcount_table_clusters, limits::kRefcountTableSizeMax));
  }
  if (header.refcount_table_clusters == 0 && !use.for_check) {
    corrupt("Image does not contain a reference count table", "refcount_table_clusters is 0");
  }
  if (!is_table_place(header.refcount_table_offset, size, header)) {
    corrupt("Reference count table offset invalid",
            fmt::format("refcount_table_offset is 0x{:x}", header.refcount_table_offset.value()));
  }
}

void check_l1_table(const Header& header) {
  if (header.l1_size > limits::kL1EntriesMax) {
    too_big("Active L1 table too large",
            fmt::format("l1_size is {}; at most {} entries are supported", header.l1_size,
                        limits::kL1EntriesMax));
  }
  if (!is_table_place(header.l1_table_offset, uint64_t{header.l1_size} * 8, header)) {
    corrupt("Active L1 table offset invalid",
            fmt::format("l1_table_offset is 0x{:x}", header.l1_table_offset.value()));
  }
}

// The L1 table must map the whole disk. In QEMU only sizes so near 2^64 that rounding up wraps
// reach the check of the disk's size.
void check_disk_size(const Header& header) {
  const Geometry geometry(header);
  const std::string hint = fmt::format("size is {}, l1_size {}", header.size, header.l1_size);
  if (!checked_add(header.size, geometry.l2_coverage() - 1)) {
    too_big("Could not refresh total sector count: File too large", hint);
  }
  const uint64_t needed = geometry.l1_entries_for(header.size);
  if (needed > INT32_MAX) too_big("Image is too big", hint);
  if (header.l1_size < needed) {
    corrupt("L1 table is too small", fmt::format("{}; the disk needs {}", hint, needed));
  }
}

void check_crypt_method(const Header& header) {
  const uint32_t method = static_cast<uint32_t>(header.crypt_method);
  if (method > static_cast<uint32_t>(CryptMethod::kLuks)) {
    corrupt(fmt::format("Unsupported encryption method {}", static_cast<int32_t>(method)),
            fmt::format("crypt_method is {}", method));
  }
}

// Tables that end past the largest device: QEMU fails when it reads them.
void check_readable(const char* message, const char* field, HostOffset offset, uint64_t size) {
  if (range_fits(offset.value(), size, limits::kDeviceSizeMax)) return;
  throw Error(ErrorKind::kIo, EIO, fmt::format("{}: {}", message, errno_text(EIO)),
              fmt::format("{} is 0x{:x}", field, offset.value()));
}

}  // namespace

uint64_t Header::probe_cluster_size(ConstBytes first_bytes) {
  const RawHeader raw = load_raw(first_bytes);
  check_start(raw);
  return uint64_t{1} << raw.cluster_bits;
}

void Header::check_snapshot_table() const {
  if (snapshot_count > limits::kSnapshotsMax) {
    too_big("Snapshot table too large", fmt::format("nb_snapshots is {}; at most {} are supported",
                                                    snapshot_count, limits::kSnapshotsMax));
  }
  if (!is_table_place(snapshots_offset, uint64_t{snapshot_count} * sizeof(RawSnapshot), *this)) {
    corrupt("Snapshot table offset invalid",
            fmt::format("snapshots_offset is 0x{:x}", snapshots_offset.value()));
  }
}

Header Header::parse(ConstBytes first_cluster, HeaderUse use) {
  const RawHeader raw = load_raw(first_cluster);
  check_start(raw);
  BYRE_ASSERT(first_cluster.size() >= uint64_t{1} << raw.cluster_bits);
  Header header = load(raw, first_cluster);
  if (header.backing_file_offset > header.cluster_size()) {
    corrupt("Invalid backing file offset",
            fmt::format("backing_file_offset is {}, the cluster size {}",
                        header.backing_file_offset, header.cluster_size()));
  }
  load_compression_type(raw, header);
  check_features(first_cluster, header, use);
  check_refcount_table(header, use);
  if (use.writable && !use.for_check) header.check_snapshot_table();
  check_l1_table(header);
  check_disk_size(header);
  check_readable("Could not read L1 table", "l1_table_offset", header.l1_table_offset,
                 uint64_t{header.l1_size} * 8);
  check_crypt_method(header);
  check_readable("Could not initialize refcount handling", "refcount_table_offset",
                 header.refcount_table_offset,
                 uint64_t{header.refcount_table_clusters} << header.cluster_bits);
  return header;
}

std::vector<uint8_t> Header::encode() const {
  RawHeader raw{};
  raw.magic = kMagic;
  raw.version = version;
  raw.backing_file_offset = backing_file_offset;
  raw.backing_file_size = backing_file_size;
  raw.cluster_bits = cluster_bits;
  raw.size = size;
  raw.crypt_method = static_cast<uint32_t>(crypt_method);
  raw.l1_size = l1_size;
  raw.l1_table_offset = l1_table_offset.value();
  raw.refcount_table_offset = refcount_table_offset.value();
  raw.refcount_table_clusters = refcount_table_clusters;
  raw.nb_snapshots = snapshot_count;
  raw.snapshots_offset = snapshots_offset.value();
  const auto* start = reinterpret_cast<const uint8_t*>(&raw);
  if (version == 2) return {start, start + limits::kHeaderSizeV2};
  raw.incompatible_features = incompatible_features;
  raw.compatible_features = compatible_features;
  raw.autoclear_features = autoclear_features;
  raw.refcount_order = refcount_order;
  raw.header_length = header_length;
  raw.compression_type = static_cast<uint8_t>(compression_type);
  std::vector<uint8_t> bytes(start, start + limits::kHeaderSizeV3Min + 1);
  bytes.insert(bytes.end(), additional_fields.begin(), additional_fields.end());
  // If header_length includes more fields than are known, they are absent: zeroes.
  bytes.resize(header_length);
  return bytes;
}

}  // namespace byre::qcow2::layout
