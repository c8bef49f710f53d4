// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_stretch.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

// Reads the L2 tables of an L1 table in order, several at once, straight from the file.
// REQUIRES: the cache of L2 tables has nothing dirty, and no entry changes meanwhile.
class L2TableWalk {
 public:
  // `l1`: entries, host order; they outlive the walk.
  L2TableWalk(Context* context, const std::vector<uint64_t>* l1) : context_(context), l1_(l1) {}

  struct Table {
    uint64_t l1_index = 0;
    layout::HostOffset offset;
    Bytes bytes;  // valid until the next call of next()
  };
  // The next table; nullopt at the end. Throws Health::report_corruption() if the offset of one is
  // not at the start of a cluster.
  Task<std::optional<Table>> next();

 private:
  Task<void> read_batch();
  Task<void> read_table(Table* table);

  Context* context_;
  const std::vector<uint64_t>* l1_;
  uint64_t next_index_ = 0;  // of l1_
  Buffer buffer_;
  std::vector<Table> batch_;
  size_t next_in_batch_ = 0;
};

// Consecutive entries of an L2 table: with offsets of consecutive clusters and the same in all else, or
// without any clusters. An entry of any other kind is alone.
// REQUIRES: `index` is inside the table.
layout::L2Stretch entries_alike(ConstBytes table, uint32_t index, const layout::Geometry& geometry);

// The host clusters that the entries of the table refer to, in the table's order, consecutive ones
// joined; none with an external data file, whose clusters have no refcounts. Throws
// Health::report_corruption() if an entry is invalid.
std::vector<ClusterRange> clusters_of(Context& context, const L2TableWalk::Table& table);

}  // namespace byre::qcow2
