// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "qcow2/core/open_options.h"
#include "qcow2/layout/geometry.h"

namespace byre::qcow2 {

// The sizes of the caches of an image's tables: as its options say, with the defaults of decision
// 0020.
struct CacheSizes {
  uint32_t l2_slice_size = 0;
  uint64_t l2_slices_max = 0;
  uint32_t refcount_slice_size = 0;
  uint64_t refcount_slices_max = 0;
  std::chrono::seconds clean_interval{0};  // 0: never

  // `disk_size` in bytes. Throws Error(kInvalidArgument) if options contradict each other or are
  // invalid for this image.
  static CacheSizes of(const CacheOptions& options, const layout::Geometry& geometry,
                       uint64_t disk_size);
};

}  // namespace byre::qcow2
