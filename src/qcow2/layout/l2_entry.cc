// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/l2_entry.h"

#include <bit>

#include "base/assert.h"

namespace byre::qcow2::layout {
namespace {

constexpr uint32_t kZeroShift = 32;  // from the bitmap's allocation bits to its zero bits

// Bits [first, first + count) of a 32-bit half.
uint64_t half_mask(uint32_t first, uint32_t count) {
  BYRE_ASSERT(first <= limits::kSubclustersPerCluster &&
              count <= limits::kSubclustersPerCluster - first);
  return ((uint64_t{1} << count) - 1) << first;
}

SubclusterKind as_subcluster(ClusterKind kind) {
  switch (kind) {
    case ClusterKind::kUnallocated:
      return SubclusterKind::kUnallocatedPlain;
    case ClusterKind::kZeroPlain:
      return SubclusterKind::kZeroPlain;
    case ClusterKind::kZeroAllocated:
      return SubclusterKind::kZeroAllocated;
    case ClusterKind::kNormal:
      return SubclusterKind::kNormal;
    case ClusterKind::kCompressed:
      return SubclusterKind::kCompressed;
    case ClusterKind::kInvalid:
      return SubclusterKind::kInvalid;
  }
  return SubclusterKind::kInvalid;
}

}  // namespace

L2Entry L2Entry::load(ConstBytes table, uint32_t index, const Geometry& geometry) {
  const size_t at = size_t{index} * geometry.l2_entry_size();
  BYRE_ASSERT(range_fits(at, geometry.l2_entry_size(), table.size()));
  const uint64_t word = load_big_endian<uint64_t>(table.data() + at);
  if (!geometry.extended_l2()) return L2Entry(word);
  return L2Entry(word, load_big_endian<uint64_t>(table.data() + at + 8));
}

void L2Entry::store(Bytes table, uint32_t index, const Geometry& geometry) const {
  const size_t at = size_t{index} * geometry.l2_entry_size();
  BYRE_ASSERT(range_fits(at, geometry.l2_entry_size(), table.size()));
  store_big_endian(table.data() + at, word_);
  if (geometry.extended_l2()) store_big_endian(table.data() + at + 8, bitmap_);
}

L2Entry L2Entry::normal(HostOffset offset, bool copied, const Geometry& geometry) {
  return L2Entry(offset.value() | (copied ? kCopied : 0),
                 geometry.extended_l2() ? kAllAllocated : 0);
}

L2Entry L2Entry::zero_allocated(HostOffset offset, bool copied, const Geometry& geometry) {
  BYRE_ASSERT(geometry.version() >= 3);
  const uint64_t word = offset.value() | (copied ? kCopied : 0);
  return geometry.extended_l2() ? L2Entry(word, kAllZero) : L2Entry(word | kZero);
}

L2Entry L2Entry::zero_plain(const Geometry& geometry) {
  BYRE_ASSERT(geometry.version() >= 3);
  return geometry.extended_l2() ? L2Entry(0, kAllZero) : L2Entry(kZero);
}

L2Entry L2Entry::compressed(HostOffset offset, uint64_t size, const Geometry& geometry) {
  BYRE_ASSERT(size > 0 && size <= geometry.cluster_size());
  BYRE_ASSERT(range_fits(offset.value(), size, geometry.compressed_offset_end()));
  const uint64_t last = offset.value() + size - 1;
  const uint64_t sectors = last / kSectorSize - offset.value() / kSectorSize;
  return L2Entry(kCompressed | (sectors << geometry.compressed_offset_bits()) | offset.value());
}

CompressedRange L2Entry::compressed_range(const Geometry& geometry) const {
  const uint64_t offset = word_ & geometry.compressed_offset_mask();
  const uint64_t sectors =
      (word_ >> geometry.compressed_offset_bits()) & geometry.compressed_sectors_max();
  return {HostOffset(offset), (sectors + 1) * kSectorSize - offset % kSectorSize};
}

bool L2Entry::has_offset(const Geometry& geometry) const {
  if (is_compressed()) return false;
  // In an external data file offset 0 is the first cluster; bit 63 distinguishes it from no offset.
  return !offset().is_zero() || (geometry.external_data_file() && copied());
}

L2Problem L2Entry::problem(const Geometry& geometry) const {
  if (is_compressed()) {
    if (geometry.external_data_file()) return L2Problem::kCompressedInDataFile;
    const uint64_t offset = word_ & geometry.compressed_offset_mask();
    return offset < limits::kHostOffsetEnd ? L2Problem::kNone : L2Problem::kCompressedOffset;
  }
  if (geometry.version() < 3 && (word_ & kZero)) return L2Problem::kZeroFlagInVersion2;
  if (!geometry.is_cluster_aligned(offset())) return L2Problem::kUnaligned;
  if (!geometry.extended_l2()) return L2Problem::kNone;
  const uint64_t allocated = bitmap_ & kAllAllocated;
  if (allocated != 0 && !has_offset(geometry)) return L2Problem::kAllocatedWithoutOffset;
  if ((allocated & (bitmap_ >> kZeroShift)) != 0) return L2Problem::kAllocatedAndZero;
  return L2Problem::kNone;
}

ClusterKind L2Entry::kind(const Geometry& geometry) const {
  if (problem(geometry) != L2Problem::kNone) return ClusterKind::kInvalid;
  if (is_compressed()) return ClusterKind::kCompressed;
  const bool allocated = has_offset(geometry);
  if (!geometry.extended_l2() && (word_ & kZero)) {
    return allocated ? ClusterKind::kZeroAllocated : ClusterKind::kZeroPlain;
  }
  return allocated ? ClusterKind::kNormal : ClusterKind::kUnallocated;
}

uint64_t L2Entry::reserved_bits(const Geometry& geometry) const {
  if (is_compressed()) {
    return word_ & geometry.compressed_offset_mask() & ~(limits::kHostOffsetEnd - 1);
  }
  return word_ & kReservedMask;
}

uint64_t L2Entry::reserved_bitmap_bits(const Geometry& geometry) const {
  return geometry.extended_l2() && is_compressed() ? bitmap_ : 0;
}

SubclusterKind L2Entry::subcluster(uint32_t index, const Geometry& geometry) const {
  BYRE_ASSERT(index < geometry.subclusters_per_cluster());
  if (!geometry.extended_l2() || is_compressed()) return as_subcluster(kind(geometry));
  if (!geometry.is_cluster_aligned(offset())) return SubclusterKind::kInvalid;
  const bool has_cluster = has_offset(geometry);
  const bool allocated = (bitmap_ >> index) & 1;
  const bool zero = (bitmap_ >> (kZeroShift + index)) & 1;
  if (allocated) {
    return has_cluster && !zero ? SubclusterKind::kNormal : SubclusterKind::kInvalid;
  }
  if (zero) return has_cluster ? SubclusterKind::kZeroAllocated : SubclusterKind::kZeroPlain;
  return has_cluster ? SubclusterKind::kUnallocatedAllocated : SubclusterKind::kUnallocatedPlain;
}

SubclusterRun L2Entry::run(uint32_t index, const Geometry& geometry) const {
  const SubclusterKind kind = subcluster(index, geometry);
  const uint32_t rest = geometry.subclusters_per_cluster() - index;
  if (rest == 1 || !geometry.extended_l2() || is_compressed()) return {kind, rest};
  // The subclusters whose two bits are equal to those of the first one are of the same kind.
  const uint64_t allocated = bitmap_ >> index;
  const uint64_t zero = bitmap_ >> (kZeroShift + index);
  const uint64_t differs =
      ((allocated & 1 ? ~allocated : allocated) | (zero & 1 ? ~zero : zero)) & 0xffffffff;
  const auto same = static_cast<uint32_t>(std::countr_zero(differs | (uint64_t{1} << rest)));
  return {kind, same};
}

L2Entry L2Entry::with_subclusters_allocated(uint32_t first, uint32_t count) const {
  const uint64_t mask = half_mask(first, count);
  return L2Entry(word_, (bitmap_ | mask) & ~(mask << kZeroShift));
}

L2Entry L2Entry::with_subclusters_zero(uint32_t first, uint32_t count) const {
  const uint64_t mask = half_mask(first, count);
  return L2Entry(word_, (bitmap_ | (mask << kZeroShift)) & ~mask);
}

L2Entry L2Entry::with_subclusters_unallocated(uint32_t first, uint32_t count) const {
  const uint64_t mask = half_mask(first, count);
  return L2Entry(word_, bitmap_ & ~(mask | (mask << kZeroShift)));
}

const char* to_string(ClusterKind kind) {
  switch (kind) {
    case ClusterKind::kUnallocated:
      return "unallocated";
    case ClusterKind::kZeroPlain:
      return "zero";
    case ClusterKind::kZeroAllocated:
      return "zero, allocated";
    case ClusterKind::kNormal:
      return "normal";
    case ClusterKind::kCompressed:
      return "compressed";
    case ClusterKind::kInvalid:
      return "invalid";
  }
  return "unknown";
}

const char* to_string(SubclusterKind kind) {
  switch (kind) {
    case SubclusterKind::kUnallocatedPlain:
      return "unallocated";
    case SubclusterKind::kUnallocatedAllocated:
      return "unallocated in an allocated cluster";
    case SubclusterKind::kZeroPlain:
      return "zero";
    case SubclusterKind::kZeroAllocated:
      return "zero, allocated";
    case SubclusterKind::kNormal:
      return "normal";
    case SubclusterKind::kCompressed:
      return "compressed";
    case SubclusterKind::kInvalid:
      return "invalid";
  }
  return "unknown";
}

const char* to_string(L2Problem problem) {
  switch (problem) {
    case L2Problem::kNone:
      return "none";
    case L2Problem::kUnaligned:
      return "the host offset is not at the start of a cluster";
    case L2Problem::kZeroFlagInVersion2:
      return "version 2 has no zero flag";
    case L2Problem::kAllocatedWithoutOffset:
      return "a subcluster is allocated, but the cluster has no host offset";
    case L2Problem::kAllocatedAndZero:
      return "a subcluster is both allocated and zero";
    case L2Problem::kCompressedOffset:
      return "the compressed data's host offset exceeds 56 bits";
    case L2Problem::kCompressedInDataFile:
      return "an image with an external data file has no compressed clusters";
  }
  return "unknown";
}

}  // namespace byre::qcow2::layout
