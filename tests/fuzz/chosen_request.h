// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/checked.h"
#include "fuzz/disk_request.h"
#include "fuzz/image_damage.h"
#include "fuzz/sector_model.h"
#include "qcow2/image/image.h"
#include "storage/memory_device.h"

// Bytes of a fuzzer's input to requests: mostly near one another and at boundaries.
namespace byre::fuzz {

// The most bytes of a request with contents, and the most clusters of one without. Small, so that
// there are many runs.
inline constexpr uint64_t kLengthMax = 6 << 10;
inline constexpr uint64_t kClearedClustersMax = 24;

inline uint64_t chosen_offset(uint16_t place, const qcow2::layout::Geometry& geometry,
                              uint64_t size) {
  const uint64_t index = place & 0x1fff;
  uint64_t offset = 0;
  switch (place >> 13) {
    case 0:
      offset = index % 512 * SectorModel::kSector;
      break;
    case 1:
      offset = index % 256 << geometry.cluster_bits();
      break;
    case 2:
      offset = index * 7;
      break;
    case 3:
      offset = (index / 32 + 1) * geometry.l2_coverage() - index % 32 * 700;
      break;
    case 4:
      offset = size - std::min(size, index * SectorModel::kSector);
      break;
    case 5:
      offset = size - std::min(size, index << geometry.cluster_bits());
      break;
    case 6:
      offset = index << geometry.subcluster_bits();
      break;
    default:
      offset = align_down(size / 0x2000 * index, geometry.cluster_size());
      break;
  }
  return size == 0 ? 0 : offset % size;
}

// A request to the image, from the four bytes after its kind.
inline DiskRequest chosen_request(const qcow2::Image& image, Kind kind, uint16_t place,
                                  uint8_t size, uint8_t seed) {
  const qcow2::layout::Geometry& geometry = image.geometry();
  const uint64_t cluster_size = geometry.cluster_size();
  DiskRequest request{.kind = kind, .offset = chosen_offset(place, geometry, image.size())};
  const uint64_t units[] = {1, SectorModel::kSector, geometry.subcluster_size(), cluster_size};
  const uint64_t unit = units[size >> 6];
  request.length = (uint64_t{size} % 64 + 1) * unit;
  uint64_t length_max = kLengthMax;
  // These do not have to change the bytes.
  if (kind == Kind::kDiscard || kind == Kind::kUnmap)
    length_max = kClearedClustersMax * cluster_size;
  if (kind == Kind::kCompressed) {
    request.offset = align_down(request.offset, cluster_size);
    request.length = align_up(request.length, cluster_size);
    length_max = std::max(kLengthMax / cluster_size, uint64_t{1}) * cluster_size;
  }
  if (kind == Kind::kDiscard) {
    request.offset = align_down(request.offset, SectorModel::kSector);
    request.length = align_up(request.length, SectorModel::kSector);
  }
  request.length = std::min({request.length, length_max, image.size() - request.offset});
  const bool has_bytes = kind == Kind::kWrite || kind == Kind::kCompressed || kind == Kind::kRead;
  if (has_bytes) request.bytes.assign(request.length, static_cast<uint8_t>(seed | 1));
  // Bytes that identify their offset; those of some compressed writes are not compressible.
  const uint64_t step = kind == Kind::kCompressed && seed % 4 != 0 ? 64 : 1;
  for (uint64_t i = 0; kind != Kind::kRead && i < request.bytes.size(); i += step) {
    request.bytes[i] = static_cast<uint8_t>((request.offset + i) * 0x9e3779b9u >> 13) ^ seed;
  }
  return request;
}

// How the image is opened each time, by the bits of the first byte.
inline qcow2::OpenOptions chosen_options(const storage::MemoryDevice& file, uint8_t choices) {
  qcow2::OpenOptions options;
  const std::optional<qcow2::layout::Header> header = header_of(file);
  if (!header) return options;
  if ((choices & 2) != 0) {  // small caches, so that tables are evicted
    options.cache.l2_cache_size = 2 * header->cluster_size();
    options.cache.l2_cache_entry_size = 512;
    options.cache.refcount_cache_size = 4 * header->cluster_size();
  }
  if ((choices & 4) != 0) options.policy.detect_zeroes = DetectZeroes::kUnmap;
  if ((choices & 8) != 0) options.overlap_check.check = "all";
  options.pass_discard.other = (choices & 16) != 0;
  if (header->version >= 3) {
    options.discard_no_unref = (choices & 32) != 0;
    if ((choices & 64) != 0) options.lazy_refcounts = true;
  }
  return options;
}

}  // namespace byre::fuzz
