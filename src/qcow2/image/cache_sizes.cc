// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/cache_sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"

namespace byre::qcow2 {

namespace {

// Enough for the L2 tables of 256 GiB with clusters of 64 KiB; QEMU's limit.
constexpr uint64_t kL2SizeMax = 32 * kMiB;
constexpr uint64_t kRefcountSize = 4 * kMiB;
constexpr uint64_t kSliceSizeMax = 16 * kKiB;
// The smallest size that may be requested for a cache, as in QEMU.
constexpr uint64_t kL2EntriesMin = 2;
constexpr uint64_t kRefcountEntriesMin = 4;
constexpr uint64_t kEntrySizeMin = 512;
constexpr uint64_t kCleanIntervalDefault = 600;

Error refused(ErrorData data, std::string sentence) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(data), std::move(sentence));
}

Error too_large(Literal code, Literal option, uint64_t value) {
  return refused({.code = code, .field = option, .value = value},
                 fmt::format("{} is {}, which is too large", option.view(), value));
}

Error more_than_both(Literal code, Literal option, uint64_t value, uint64_t both) {
  return refused(
      {.code = code, .field = option, .value = value, .bound = both},
      fmt::format("{} is {}, more than cache-size, which is {}", option.view(), value, both));
}

struct Sizes {
  uint64_t l2 = 0;
  uint64_t refcount = 0;
};

// The L2 tables of the whole disk: a larger cache would be useless.
uint64_t all_l2_tables(const layout::Geometry& geometry, uint64_t disk_size) {
  const uint64_t entries = geometry.clusters_for(disk_size);
  return align_up(entries * geometry.l2_entry_size(), geometry.cluster_size());
}

Sizes split(const CacheOptions& options, const layout::Geometry& geometry, uint64_t l2_max) {
  const uint64_t refcount_min = kRefcountEntriesMin * geometry.cluster_size();
  Sizes sizes{options.l2_cache_size.value_or(kL2SizeMax),
              options.refcount_cache_size.value_or(kRefcountSize)};
  if (!options.cache_size) return sizes;
  const uint64_t both = *options.cache_size;
  if (options.l2_cache_size && options.refcount_cache_size) {
    throw refused({.code = "qcow2-cache-sizes-all", .field = "cache-size"},
                  "of cache-size, l2-cache-size and refcount-cache-size, at most two can be set");
  }
  if (options.l2_cache_size && sizes.l2 > both) {
    throw more_than_both("qcow2-l2-cache-above-both", "l2-cache-size", sizes.l2, both);
  }
  if (options.refcount_cache_size && sizes.refcount > both) {
    throw more_than_both("qcow2-refcount-cache-above-both", "refcount-cache-size", sizes.refcount,
                         both);
  }
  if (options.l2_cache_size) {
    sizes.refcount = both - sizes.l2;
  } else if (options.refcount_cache_size) {
    sizes.l2 = both - sizes.refcount;
  } else {
    // L2 tables first: every request needs them.
    sizes.refcount = std::min(both, refcount_min);
    sizes.l2 = std::min(both - sizes.refcount, l2_max);
    sizes.refcount = both - sizes.l2;
  }
  return sizes;
}

}  // namespace

CacheSizes CacheSizes::of(const CacheOptions& options, const layout::Geometry& geometry,
                          uint64_t disk_size) {
  const uint64_t cluster_size = geometry.cluster_size();
  const uint64_t l2_max = all_l2_tables(geometry, disk_size);
  Sizes wanted = split(options, geometry, l2_max);
  wanted.l2 = std::min(wanted.l2, l2_max);
  const uint64_t entry_size =
      options.l2_cache_entry_size.value_or(std::min(cluster_size, kSliceSizeMax));
  if (!is_power_of_two(entry_size) || entry_size < kEntrySizeMin || entry_size > cluster_size) {
    throw refused(
        {.code = "qcow2-l2-cache-entry-size-wrong",
         .field = "l2-cache-entry-size",
         .value = entry_size,
         .bound = cluster_size},
        fmt::format("l2-cache-entry-size is {}, not a power of two from {} to the cluster "
                    "size {}",
                    entry_size, kEntrySizeMin, cluster_size));
  }
  if (wanted.l2 / entry_size > INT_MAX)
    throw too_large("qcow2-l2-cache-too-large", "l2-cache-size", wanted.l2);
  if (wanted.refcount / cluster_size > INT_MAX)
    throw too_large("qcow2-refcount-cache-too-large", "refcount-cache-size", wanted.refcount);
  const uint64_t interval = options.clean_interval.value_or(kCleanIntervalDefault);
  if (interval > UINT_MAX)
    throw too_large("qcow2-cache-interval-too-large", "cache-clean-interval", interval);

  const uint64_t refcount_slice = std::min(cluster_size, kSliceSizeMax);
  return {.l2_slice_size = static_cast<uint32_t>(entry_size),
          .l2_slices_max = std::max(wanted.l2 / entry_size, kL2EntriesMin),
          .refcount_slice_size = static_cast<uint32_t>(refcount_slice),
          .refcount_slices_max = std::max(wanted.refcount / refcount_slice, kRefcountEntriesMin),
          .clean_interval = std::chrono::seconds(interval)};
}

}  // namespace byre::qcow2
