// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/geometry.h"

#include <algorithm>

#include "base/assert.h"

namespace byre::qcow2::layout {

Geometry::Geometry(const Header& header)
    : version_(header.version),
      cluster_bits_(header.cluster_bits),
      l2_bits_(header.cluster_bits - (header.has_extended_l2() ? 4 : 3)),
      refcount_order_(header.refcount_order),
      extended_l2_(header.has_extended_l2()),
      external_data_file_(header.has_external_data_file()) {
  BYRE_ASSERT(cluster_bits_ >= limits::kClusterBitsMin && cluster_bits_ <= limits::kClusterBitsMax);
  BYRE_ASSERT(!extended_l2_ || cluster_bits_ >= limits::kClusterBitsMinExtendedL2);
  BYRE_ASSERT(refcount_order_ <= limits::kRefcountOrderMax);
}

uint64_t Geometry::disk_size_max() const {
  // At most 2^22 entries of 2^39 bytes: 2^61.
  return limits::kL1EntriesMax << l1_shift();
}

uint64_t Geometry::refcount_max() const {
  return refcount_bits() == 64 ? UINT64_MAX : (uint64_t{1} << refcount_bits()) - 1;
}

uint64_t Geometry::compressed_offset_end() const {
  return std::min(uint64_t{1} << compressed_offset_bits(), limits::kHostOffsetEnd);
}

}  // namespace byre::qcow2::layout
