// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/checked.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/refcount_entry.h"

// Any bytes as table entries of every kind, in images of every geometry: each word has a kind, and
// what the kinds guarantee is true. The first two bytes choose the geometry.
namespace {

using namespace byre;
using namespace byre::qcow2::layout;

Geometry geometry_from(uint8_t first, uint8_t second) {
  Header header;
  header.cluster_bits = 9 + first % 13;
  header.refcount_order = second % 7;
  header.version = first & 0x80 ? 2 : 3;
  const bool extended = (second & 0x80) != 0 && header.version == 3 &&
                        header.cluster_bits >= limits::kClusterBitsMinExtendedL2;
  if (extended) header.incompatible_features |= incompatible::kExtendedL2;
  if (second & 0x40) header.incompatible_features |= incompatible::kExternalDataFile;
  return Geometry(header);
}

void check_l1(uint64_t word, const Geometry& geometry) {
  const L1Entry entry(word);
  BYRE_ASSERT((entry.offset().value() | entry.reserved_bits() |
               (entry.copied() ? L1Entry::kCopied : 0)) == word);
  if (entry.kind(geometry) == L1Kind::kTable) {
    BYRE_ASSERT(geometry.is_cluster_aligned(entry.offset()) && !entry.offset().is_zero());
    if (entry.reserved_bits() == 0) {
      BYRE_ASSERT(L1Entry::table(entry.offset(), entry.copied()) == entry);
    }
  }
}

void check_refcount_table(uint64_t word, const Geometry& geometry) {
  const RefcountTableEntry entry(word);
  BYRE_ASSERT((entry.offset().value() | entry.reserved_bits()) == word);
  if (entry.kind(geometry) == RefcountTableKind::kBlock) {
    BYRE_ASSERT(entry.offset().value() + geometry.cluster_size() <= uint64_t{1} << 63);
  }
}

void check_bitmap_table(uint64_t word, const Geometry& geometry) {
  const BitmapTableEntry entry(word);
  switch (entry.kind(geometry)) {
    case BitmapTableKind::kZeroes:
      BYRE_ASSERT(entry == BitmapTableEntry::zeroes());
      break;
    case BitmapTableKind::kOnes:
      BYRE_ASSERT(entry == BitmapTableEntry::ones());
      break;
    case BitmapTableKind::kCluster:
      BYRE_ASSERT(entry == BitmapTableEntry::cluster(entry.offset()));
      break;
    case BitmapTableKind::kInvalid:
      break;
  }
}

void check_compressed(const L2Entry& entry, const Geometry& geometry) {
  const CompressedRange range = entry.compressed_range(geometry);
  BYRE_ASSERT(range.offset.value() < geometry.compressed_offset_end());
  BYRE_ASSERT(range.size > 0 && range.size <= 2 * geometry.cluster_size());
  BYRE_ASSERT((range.offset.value() + range.size) % kSectorSize == 0);
  const bool encodable =
      range.size <= geometry.cluster_size() &&
      range_fits(range.offset.value(), range.size, geometry.compressed_offset_end());
  if (encodable) {
    const L2Entry again = L2Entry::compressed(range.offset, range.size, geometry);
    BYRE_ASSERT(again.word() == (entry.word() & ~L2Entry::kCopied));
  }
}

void check_l2(const L2Entry& entry, const Geometry& geometry) {
  const ClusterKind kind = entry.kind(geometry);
  BYRE_ASSERT((kind == ClusterKind::kInvalid) == (entry.problem(geometry) != L2Problem::kNone));
  if (kind == ClusterKind::kCompressed) check_compressed(entry, geometry);
  bool any_invalid = false;
  const uint32_t count = geometry.subclusters_per_cluster();
  for (uint32_t i = 0; i < count;) {
    const SubclusterRun run = entry.run(i, geometry);
    BYRE_ASSERT(run.count > 0 && run.count <= count - i);
    for (uint32_t j = i; j < i + run.count; ++j) {
      BYRE_ASSERT(entry.subcluster(j, geometry) == run.kind);
    }
    any_invalid |= run.kind == SubclusterKind::kInvalid;
    const bool data = run.kind == SubclusterKind::kNormal;
    if (data)
      BYRE_ASSERT(entry.has_offset(geometry) && geometry.is_cluster_aligned(entry.offset()));
    i += run.count;
  }
  BYRE_ASSERT(any_invalid == (kind == ClusterKind::kInvalid));
}

// A refcount block: reads return what was written, and nothing else changes.
void check_refcounts(ConstBytes in, const Geometry& geometry) {
  std::vector<uint8_t> block(in.begin(), in.begin() + in.size() / 8 * 8);
  const uint32_t order = geometry.refcount_order();
  const uint64_t count = (uint64_t{block.size()} * 8) >> order;
  std::vector<uint8_t> copy(block.size());
  uint64_t free = count;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t value = load_refcount(block, i, order);
    BYRE_ASSERT(value <= geometry.refcount_max());
    store_refcount(copy, i, order, value);
    if (value != 0) free = std::min(free, i);
  }
  BYRE_ASSERT(copy == block);
  BYRE_ASSERT(count_free_refcounts(block, 0, count, order) == free);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Geometry geometry = geometry_from(data[0], data[1]);
  const ConstBytes bytes(data + 2, std::min<size_t>(size - 2, 1024));
  for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
    const uint64_t word = load_big_endian<uint64_t>(bytes.data() + i);
    check_l1(word, geometry);
    check_refcount_table(word, geometry);
    check_bitmap_table(word, geometry);
  }
  std::vector<uint8_t> copy(bytes.size());
  const auto entries = static_cast<uint32_t>(bytes.size() / geometry.l2_entry_size());
  for (uint32_t i = 0; i < entries; ++i) {
    const L2Entry entry = L2Entry::load(bytes, i, geometry);
    check_l2(entry, geometry);
    entry.store(copy, i, geometry);
    BYRE_ASSERT(L2Entry::load(copy, i, geometry) == entry);
  }
  check_refcounts(bytes, geometry);
  return 0;
}
