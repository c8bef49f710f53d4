// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/checked.h"
#include "byre/error.h"
#include "fuzz/fuzz_input.h"
#include "qcow2/check/check.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "storage/memory_device.h"

// Finds the metadata of an image in memory, and damages it in meaningful ways: a random byte of a
// file is nearly always guest data.
namespace byre::fuzz {

// Files and tables of fuzzed images are small; offsets and counts beyond this are left alone.
inline constexpr uint64_t kEntriesMax = 4096;

struct MetadataRange {
  uint64_t offset = 0;
  uint64_t length = 0;
  // Clusters that the engine writes in place, whatever their refcount.
  bool is_written_in_place = false;
};

inline std::optional<qcow2::layout::Header> header_of(const storage::MemoryDevice& file) {
  using qcow2::layout::Header;
  if (file.size() < Header::kProbeSize) return std::nullopt;
  try {
    const std::vector<uint8_t> start = file.get(0, Header::kProbeSize);
    const uint64_t cluster_size = Header::probe_cluster_size(start);
    std::vector<uint8_t> first = file.get(0, std::min(cluster_size, file.size()));
    first.resize(cluster_size);
    return Header::parse(first, {.for_check = true});
  } catch (const Error&) {
    return std::nullopt;
  }
}

// The entries of a table, as far as they are inside the file.
inline std::vector<uint64_t> words_of(const storage::MemoryDevice& file, uint64_t offset,
                                      uint64_t count) {
  std::vector<uint64_t> words;
  if (!range_fits(offset, 8, file.size())) return words;
  count = std::min({count, kEntriesMax, (file.size() - offset) / 8});
  const std::vector<uint8_t> bytes = file.get(offset, count * 8);
  for (uint64_t i = 0; i < count; ++i) words.push_back(load_big_endian<uint64_t>(&bytes[i * 8]));
  return words;
}

inline std::vector<MetadataRange> metadata_of(const storage::MemoryDevice& file,
                                              const qcow2::layout::Header& header) {
  const qcow2::layout::Geometry geometry(header);
  const uint64_t cluster_size = geometry.cluster_size();
  std::vector<MetadataRange> found;
  const auto add = [&](uint64_t offset, uint64_t length, bool in_place) {
    if (offset >= file.size() || length == 0) return;
    found.push_back({offset, std::min(length, file.size() - offset), in_place});
  };
  add(0, 112, true);
  const uint64_t l1_bytes = uint64_t{header.l1_size} * 8;
  add(header.l1_table_offset.value(), l1_bytes, true);
  const uint64_t table_bytes = uint64_t{header.refcount_table_clusters} * cluster_size;
  add(header.refcount_table_offset.value(), table_bytes, true);
  for (const uint64_t word :
       words_of(file, header.refcount_table_offset.value(), table_bytes / 8)) {
    const qcow2::layout::RefcountTableEntry entry(word);
    if (!entry.offset().is_zero()) add(entry.offset().value(), cluster_size, true);
  }
  for (const uint64_t word : words_of(file, header.l1_table_offset.value(), header.l1_size)) {
    const qcow2::layout::L1Entry entry(word);
    if (!entry.offset().is_zero()) add(entry.offset().value(), cluster_size, false);
  }
  if (header.snapshot_count > 0) add(header.snapshots_offset.value(), 64, false);
  return found;
}

// The image's refcount of a cluster, if its block is inside the file, else 0.
inline uint64_t refcount_of(const storage::MemoryDevice& file, const qcow2::layout::Header& header,
                            uint64_t offset) {
  const qcow2::layout::Geometry geometry(header);
  const auto cluster = geometry.cluster_of(qcow2::layout::HostOffset(offset));
  const uint64_t entry =
      header.refcount_table_offset.value() + geometry.refcount_table_index(cluster) * 8;
  const std::vector<uint64_t> word = words_of(file, entry, 1);
  if (word.empty()) return 0;
  const uint64_t block = qcow2::layout::RefcountTableEntry(word[0]).offset().value();
  if (block == 0 || block >= file.size()) return 0;
  std::vector<uint8_t> bytes =
      file.get(block, std::min(geometry.cluster_size(), file.size() - block));
  bytes.resize(geometry.cluster_size());
  return qcow2::layout::load_refcount(bytes, geometry.refcount_block_index(cluster),
                                      geometry.refcount_order());
}

// Whether the clusters that are written in place have no other use. A check finds nothing wrong
// with an image whose L1 table is also a guest cluster, if both are counted; but writing one
// changes the other.
inline bool is_metadata_alone(const storage::MemoryDevice& file,
                              const qcow2::layout::Header& header) {
  const uint64_t cluster_size = header.cluster_size();
  const uint64_t table_entries = header.refcount_table_clusters * (cluster_size / 8);
  if (header.l1_size > kEntriesMax || table_entries > kEntriesMax) return false;
  for (const MetadataRange& range : metadata_of(file, header)) {
    if (!range.is_written_in_place) continue;
    const uint64_t end = range.offset + range.length;
    for (uint64_t at = align_down(range.offset, cluster_size); at < end; at += cluster_size) {
      if (refcount_of(file, header, at) != 1) return false;
    }
  }
  return true;
}

// Whether the active disk refers to a cluster twice, which no snapshot causes. Once one of the two
// references is replaced, the other is the only one left, and there is no way to find it and set
// its copied flag: a check complains, QEMU's too, after QEMU's writes as well as byre's. The
// guest's data is correct.
inline bool is_shared_inside(const storage::MemoryDevice& file,
                             const qcow2::layout::Header& header) {
  const qcow2::layout::Geometry geometry(header);
  if (geometry.external_data_file()) return false;
  const uint64_t words_per_entry = geometry.l2_entry_size() / 8;
  std::set<uint64_t> seen;
  bool is_shared = false;
  for (const uint64_t word : words_of(file, header.l1_table_offset.value(), header.l1_size)) {
    const uint64_t table = qcow2::layout::L1Entry(word).offset().value();
    if (table == 0) continue;
    is_shared |= !seen.insert(table).second;
    const std::vector<uint64_t> words = words_of(file, table, header.cluster_size() / 8);
    for (size_t i = 0; i < words.size(); i += words_per_entry) {
      const qcow2::layout::L2Entry entry(words[i], 0);
      if (entry.is_compressed() || !entry.has_offset(geometry)) continue;
      is_shared |= !seen.insert(entry.offset().value()).second;
    }
  }
  return is_shared;
}

// Whether the finding is about that other reference: its cluster could be written in place, and is
// copied instead.
inline bool is_missing_flag(const qcow2::Finding& finding) {
  const bool is_of_flag = finding.kind == qcow2::FindingKind::kCopiedFlagL2Table ||
                          finding.kind == qcow2::FindingKind::kCopiedFlagCluster;
  return is_of_flag && !finding.is_repaired && finding.refcount == 1;
}

// Consumes six bytes of the input.
inline void damage(storage::MemoryDevice* file, FuzzInput* input) {
  const uint8_t which = input->byte();
  const uint16_t place = input->word();
  const uint8_t how = input->byte();
  const uint64_t value = input->word();
  const std::optional<qcow2::layout::Header> header = header_of(*file);
  if (!header) return;
  const std::vector<MetadataRange> ranges = metadata_of(*file, *header);
  const MetadataRange& range = ranges[which % ranges.size()];
  if (range.length < 8) return;
  const uint64_t offset = range.offset + place % (range.length / 8) * 8;
  const uint64_t word = words_of(*file, offset, 1).front();
  uint64_t now = word;
  switch (how % 6) {
    case 0:
      now = word ^ uint64_t { 1 } << (value % 64);
      break;
    case 1:
      now = word + (value << header->cluster_bits);
      break;
    case 2:
      now = 0;
      break;
    case 3:
      // An offset, the two highest bits, the lowest.
      now = ((value & 0xff) << header->cluster_bits) | (value >> 8 & 3) << 62 | (value >> 10 & 1);
      break;
    case 4:
      now = words_of(*file, range.offset + value % (range.length / 8) * 8, 1).front();
      break;
    default:
      now = word ^ uint64_t { value } << (how / 6 % 7 * 8);
      break;
  }
  uint8_t bytes[8];
  store_big_endian(bytes, now);
  file->put(offset, ConstBytes(bytes));
}

}  // namespace byre::fuzz
