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

[[noreturn]] void corrupt(ErrorData data, std::string sentence) {
  throw Error(ErrorKind::kCorrupt, EINVAL, std::move(data), std::move(sentence));
}

[[noreturn]] void too_big(ErrorData data, std::string sentence) {
  throw Error(ErrorKind::kUnsupported, EFBIG, std::move(data), std::move(sentence));
}

[[noreturn]] void unsupported(ErrorData data, std::string sentence) {
  throw Error(ErrorKind::kUnsupported, ENOTSUP, std::move(data), std::move(sentence));
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
    corrupt({.code = "qcow2-magic-wrong", .field = "magic", .value = raw.magic, .bound = kMagic},
            fmt::format("magic is 0x{:08x}, not 0x{:08x}", uint32_t{raw.magic}, kMagic));
  }
  if (raw.version != 2 && raw.version != 3) {
    unsupported({.code = "qcow2-version-unknown", .field = "version", .value = raw.version},
                fmt::format("version is {}, not 2 or 3", uint32_t{raw.version}));
  }
  const uint32_t cluster_bits = raw.cluster_bits;
  if (cluster_bits < limits::kClusterBitsMin || cluster_bits > limits::kClusterBitsMax) {
    unsupported(
        {.code = "qcow2-cluster-size-invalid", .field = "cluster_bits", .value = cluster_bits},
        fmt::format("cluster_bits is {}, not from {} to {}", cluster_bits, limits::kClusterBitsMin,
                    limits::kClusterBitsMax));
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
    corrupt({.code = "qcow2-header-too-long",
             .field = "header_length",
             .value = header.header_length,
             .bound = header.cluster_size()},
            fmt::format("header_length is {}, more than the cluster size {}", header.header_length,
                        header.cluster_size()));
  }
  if (header.header_length < limits::kHeaderSizeV3Min) {
    corrupt({.code = "qcow2-header-too-short",
             .field = "header_length",
             .value = header.header_length,
             .bound = limits::kHeaderSizeV3Min},
            fmt::format("header_length is {}; version 3 has at least {}", header.header_length,
                        limits::kHeaderSizeV3Min));
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
  constexpr uint8_t kTypeMax = static_cast<uint8_t>(CompressionType::kZstd);
  if (type > kTypeMax) {
    unsupported({.code = "qcow2-compression-type-unknown",
                 .field = "compression_type",
                 .value = type,
                 .bound = kTypeMax},
                fmt::format("compression_type is {}; only 0 to {} are known", type, kTypeMax));
  }
  const uint64_t features = header.incompatible_features;
  const bool bit = features & incompatible::kCompressionType;
  if (type == 0 && bit) {
    corrupt(
        {.code = "qcow2-compression-bit-set", .field = "incompatible_features", .value = features},
        fmt::format("incompatible_features is 0x{:x}, with the compression type bit, but "
                    "compression_type is 0",
                    features));
  }
  if (type != 0 && !bit) {
    corrupt({.code = "qcow2-compression-bit-clear",
             .field = "incompatible_features",
             .value = features},
            fmt::format("incompatible_features is 0x{:x}, without the compression type bit, but "
                        "compression_type is {}",
                        features, type));
  }
  header.compression_type = static_cast<CompressionType>(type);
}

void check_features(ConstBytes first_cluster, const Header& header, HeaderUse use) {
  const uint64_t unknown = header.incompatible_features & ~incompatible::kKnown;
  if (unknown != 0) {
    const std::string names = feature_list(unknown, readable_feature_names(first_cluster, header));
    unsupported({.code = "qcow2-features-unknown",
                 .field = "incompatible_features",
                 .value = header.incompatible_features,
                 .name = names},
                fmt::format("incompatible_features is 0x{:x}, which has bits that byre does not "
                            "know: {}",
                            header.incompatible_features, names));
  }
  if (header.is_corrupt() && use.writable && !use.for_check) {
    throw Error(ErrorKind::kPermission, EACCES,
                ErrorData{.code = "qcow2-is-corrupt",
                          .field = "incompatible_features",
                          .value = header.incompatible_features},
                fmt::format("incompatible_features is 0x{:x}: its bit 1 marks the image as "
                            "corrupt, so it is only read; a repair clears the bit",
                            header.incompatible_features));
  }
  if (header.has_extended_l2() && header.cluster_bits < limits::kClusterBitsMinExtendedL2) {
    corrupt({.code = "qcow2-subclusters-too-small",
             .field = "cluster_bits",
             .value = header.cluster_bits,
             .bound = limits::kClusterBitsMinExtendedL2},
            fmt::format("cluster_bits is {}; extended L2 entries need at least {}",
                        header.cluster_bits, limits::kClusterBitsMinExtendedL2));
  }
  if (header.refcount_order > limits::kRefcountOrderMax) {
    corrupt({.code = "qcow2-refcounts-too-wide",
             .field = "refcount_order",
             .value = header.refcount_order,
             .bound = limits::kRefcountOrderMax},
            fmt::format("refcount_order is {}; at most {}, for 64 bits, is allowed",
                        header.refcount_order, limits::kRefcountOrderMax));
  }
}

// A contiguous table of `size` bytes begins at the start of a cluster, and ends at a valid offset.
void check_table_place(Literal code, Literal field, HostOffset offset, uint64_t size,
                       const Header& header) {
  const uint64_t place = offset.value();
  const uint64_t cluster_size = header.cluster_size();
  if (!is_aligned(place, cluster_size)) {
    corrupt({.code = code, .field = field, .value = place, .bound = cluster_size},
            fmt::format("{} is 0x{:x}, not a multiple of the cluster size {}", field.view(), place,
                        cluster_size));
  }
  if (!range_fits(place, size, limits::kFileSizeMax)) {
    corrupt(
        {.code = code, .field = field, .value = place, .bound = limits::kFileSizeMax},
        fmt::format("{} is 0x{:x}, too high for a table of {} bytes", field.view(), place, size));
  }
}

void check_refcount_table(const Header& header, HeaderUse use) {
  const uint64_t size = uint64_t{header.refcount_table_clusters} << header.cluster_bits;
  if (size > limits::kRefcountTableSizeMax) {
    const uint64_t clusters_max = limits::kRefcountTableSizeMax >> header.cluster_bits;
    too_big(
        {.code = "qcow2-refcount-table-too-large",
         .field = "refcount_table_clusters",
         .value = header.refcount_table_clusters,
         .bound = clusters_max},
        fmt::format("refcount_table_clusters is {}; at most {}, {} bytes, are supported",
                    header.refcount_table_clusters, clusters_max, limits::kRefcountTableSizeMax));
  }
  if (header.refcount_table_clusters == 0 && !use.for_check) {
    corrupt(
        {.code = "qcow2-refcount-table-missing", .field = "refcount_table_clusters", .value = 0},
        "refcount_table_clusters is 0: the image has no refcount table");
  }
  check_table_place("qcow2-refcount-table-offset-invalid", "refcount_table_offset",
                    header.refcount_table_offset, size, header);
}

void check_l1_table(const Header& header) {
  if (header.l1_size > limits::kL1EntriesMax) {
    too_big({.code = "qcow2-l1-table-too-large",
             .field = "l1_size",
             .value = header.l1_size,
             .bound = limits::kL1EntriesMax},
            fmt::format("l1_size is {}; at most {} entries are supported", header.l1_size,
                        limits::kL1EntriesMax));
  }
  check_table_place("qcow2-l1-table-offset-invalid", "l1_table_offset", header.l1_table_offset,
                    uint64_t{header.l1_size} * 8, header);
}

// The L1 table must map the whole disk. In QEMU only sizes so near 2^64 that rounding up wraps
// reach the check of the disk's size.
void check_disk_size(const Header& header) {
  const Geometry geometry(header);
  if (!checked_add(header.size, geometry.l2_coverage() - 1)) {
    too_big({.code = "qcow2-size-impossible", .field = "size", .value = header.size},
            fmt::format("size is {}, more than any disk can have", header.size));
  }
  const uint64_t needed = geometry.l1_entries_for(header.size);
  if (needed > INT32_MAX) {
    too_big({.code = "qcow2-size-too-large", .field = "size", .value = header.size},
            fmt::format("size is {}, which would need {} L1 entries", header.size, needed));
  }
  if (header.l1_size < needed) {
    corrupt({.code = "qcow2-l1-table-too-small",
             .field = "l1_size",
             .value = header.l1_size,
             .bound = needed},
            fmt::format("l1_size is {}; the disk of {} bytes needs {} entries", header.l1_size,
                        header.size, needed));
  }
}

void check_crypt_method(const Header& header) {
  const uint32_t method = static_cast<uint32_t>(header.crypt_method);
  if (method > static_cast<uint32_t>(CryptMethod::kLuks)) {
    corrupt({.code = "qcow2-crypt-method-unknown", .field = "crypt_method", .value = method},
            fmt::format("crypt_method is {}, which is unknown", method));
  }
}

// Tables that end past the largest device: QEMU fails when it reads them.
void check_readable(Literal code, Literal field, HostOffset offset, uint64_t size) {
  if (range_fits(offset.value(), size, limits::kDeviceSizeMax)) return;
  throw Error(
      ErrorKind::kIo, EIO,
      ErrorData{
          .code = code, .field = field, .value = offset.value(), .bound = limits::kDeviceSizeMax},
      fmt::format("{} is 0x{:x}; no file has a table of {} bytes there", field.view(),
                  offset.value(), size));
}

}  // namespace

uint64_t Header::probe_cluster_size(ConstBytes first_bytes) {
  const RawHeader raw = load_raw(first_bytes);
  check_start(raw);
  return uint64_t{1} << raw.cluster_bits;
}

void Header::check_snapshot_table() const {
  if (snapshot_count > limits::kSnapshotsMax) {
    too_big({.code = "qcow2-snapshots-too-many",
             .field = "nb_snapshots",
             .value = snapshot_count,
             .bound = limits::kSnapshotsMax},
            fmt::format("nb_snapshots is {}; at most {} are supported", snapshot_count,
                        limits::kSnapshotsMax));
  }
  check_table_place("qcow2-snapshot-table-offset-invalid", "snapshots_offset", snapshots_offset,
                    uint64_t{snapshot_count} * sizeof(RawSnapshot), *this);
}

Header Header::parse(ConstBytes first_cluster, HeaderUse use) {
  const RawHeader raw = load_raw(first_cluster);
  check_start(raw);
  BYRE_ASSERT(first_cluster.size() >= uint64_t{1} << raw.cluster_bits);
  Header header = load(raw, first_cluster);
  if (header.backing_file_offset > header.cluster_size()) {
    corrupt({.code = "qcow2-backing-offset-invalid",
             .field = "backing_file_offset",
             .value = header.backing_file_offset,
             .bound = header.cluster_size()},
            fmt::format("backing_file_offset is {}, more than the cluster size {}",
                        header.backing_file_offset, header.cluster_size()));
  }
  load_compression_type(raw, header);
  check_features(first_cluster, header, use);
  check_refcount_table(header, use);
  if (use.writable && !use.for_check) header.check_snapshot_table();
  check_l1_table(header);
  check_disk_size(header);
  check_readable("qcow2-l1-table-past-end", "l1_table_offset", header.l1_table_offset,
                 uint64_t{header.l1_size} * 8);
  check_crypt_method(header);
  check_readable("qcow2-refcount-table-past-end", "refcount_table_offset",
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
