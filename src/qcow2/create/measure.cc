// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "qcow2/create/create.h"
#include "qcow2/create/creation_limits.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2 {

namespace {

// Bytes of the refcount table and refcount blocks that count `clusters` clusters and themselves.
uint64_t refcount_bytes(const CreateOptions& options, uint64_t clusters) {
  const uint64_t per_block = options.cluster_size * 8 / options.refcount_bits;
  const uint64_t blocks_per_table_cluster = options.cluster_size / 8;
  uint64_t blocks = 0;
  uint64_t table_clusters = 0;
  // Each round counts the structures that the previous one needed; they are at most an eighth of
  // the whole, so the numbers converge after a few rounds.
  for (;;) {
    const uint64_t total = clusters + blocks + table_clusters;
    const uint64_t needed_blocks = div_ceil(total, per_block);
    const uint64_t needed_table = div_ceil(needed_blocks, blocks_per_table_cluster);
    if (needed_blocks == blocks && needed_table == table_clusters) break;
    blocks = needed_blocks;
    table_clusters = needed_table;
  }
  return (blocks + table_clusters) * options.cluster_size;
}

// The size of the file of a disk whose clusters are all allocated.
uint64_t fully_allocated_size(const CreateOptions& options, uint64_t disk_bytes) {
  const uint64_t entry_size = options.extended_l2 ? 16 : 8;
  const uint64_t l2_entries =
      align_up(disk_bytes / options.cluster_size, options.cluster_size / entry_size);
  const uint64_t l2_bytes = l2_entries * entry_size;
  const uint64_t l1_entries = align_up(l2_bytes / options.cluster_size, options.cluster_size / 8);
  const uint64_t tables = options.cluster_size + l2_bytes + l1_entries * 8;
  return tables + disk_bytes +
         refcount_bytes(options, (tables + disk_bytes) / options.cluster_size);
}

}  // namespace

ImageSize measure(const CreateOptions& options, uint64_t allocated_clusters_size) {
  check_cluster_size(options);
  check_refcount_bits(options);
  if (options.refcount_bits != kDefaultRefcountBits && options.version < 3) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "qcow2-measured-refcount-bits-in-version-2",
                          .field = "refcount_bits",
                          .value = options.refcount_bits,
                          .bound = kDefaultRefcountBits},
                fmt::format("refcount_bits is {}; version 2 has only {}", options.refcount_bits,
                            kDefaultRefcountBits));
  }
  if (options.size > UINT64_MAX - layout::limits::kClusterSizeMax ||
      l1_entries_for(options, align_up(options.size, options.cluster_size)) >
          layout::limits::kL1EntriesMax) {
    throw Error(
        ErrorKind::kInvalidArgument, EINVAL,
        ErrorData{.code = "qcow2-measured-size-too-large", .field = "size", .value = options.size},
        fmt::format("size is {}, more than an image with clusters of {} bytes can have",
                    options.size, options.cluster_size));
  }
  const uint64_t disk_bytes = align_up(options.size, options.cluster_size);
  ImageSize measured;
  measured.fully_allocated = fully_allocated_size(options, disk_bytes);
  const bool needs_all = options.preallocation == Preallocation::kFalloc ||
                         options.preallocation == Preallocation::kFull;
  const uint64_t data_bytes =
      needs_all ? disk_bytes
                : std::min(align_up(allocated_clusters_size, options.cluster_size), disk_bytes);
  measured.required = measured.fully_allocated - disk_bytes + data_bytes;
  return measured;
}

}  // namespace byre::qcow2
