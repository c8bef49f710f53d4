// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "qcow2/create/create.h"

namespace byre::qcow2 {

// Guest clusters that are in consecutive host clusters.
struct DataRun {
  uint64_t guest_cluster = 0;  // index
  uint64_t host_cluster = 0;   // index
  uint64_t count = 0;
};

// Where the parts of a new image go, as cluster indices. Pure arithmetic: the same options give the
// same plan. The layout is QEMU's, except when QEMU outgrows its first refcount table and leaves a
// hole where that was: here the table has its final size from the start.
//
// off, metadata:
// 1. header, refcount table, first refcount block, L1 table
// 2. with metadata: each L2 table, followed by the clusters that it maps
// A refcount block follows the allocation that first needed it.
//
// falloc, full:
// 1. header, first L2 table, first refcount block, L1 table
// 2. the other refcount blocks, refcount table
// 3. all guest clusters in one piece
// 4. the other L2 tables
struct CreationPlan {
  uint64_t cluster_size = 0;
  uint64_t l1_entries = 0;
  uint64_t l1_table = 0;  // 0: the table is empty and has no clusters
  uint64_t refcount_table = 0;
  uint64_t refcount_table_clusters = 0;
  std::vector<uint64_t> refcount_blocks;  // by index in the refcount table
  std::vector<uint64_t> l2_tables;        // by index in the L1 table; empty: none
  std::vector<DataRun> data;  // in the order of guest clusters; empty: none in this file
  uint64_t clusters = 0;      // all clusters below this one are in use

  // Throws Error(kNoSpace) if the refcount table would exceed its limit.
  // REQUIRES: the options are valid; `size` is a multiple of 512.
  static CreationPlan make(const CreateOptions& options, uint64_t size);
};

}  // namespace byre::qcow2
