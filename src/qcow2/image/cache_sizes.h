// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include "qcow2/core/open_options.h"
#include "qcow2/layout/geometry.h"

namespace byre::qcow2 {

// How large the caches of an image's tables are: what its options say, and decision 0020 for what
// they leave open.
struct CacheSizes {
  uint32_t l2_slice_size = 0;
  uint64_t l2_slices_max = 0;
  uint32_t refcount_slice_size = 0;
  uint64_t refcount_slices_max = 0;
  std::chrono::seconds clean_interval{0};  // 0: never

  // `disk_size` in bytes. Throws Error(kInvalidArgument) in QEMU's words where options contradict
  // each other or make no sense for this image.
  static CacheSizes of(const CacheOptions& options, const layout::Geometry& geometry,
                       uint64_t disk_size);
};

}  // namespace byre::qcow2
