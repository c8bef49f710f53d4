// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/tables/tables.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class Reader;
class Refcounts;

// Deletes a snapshot of an image whose disk is full, without a free cluster: where a TableUpdate
// finds no room, tables are changed where they are, so that deleting snapshots gives space back.
// Wherever it stops, nothing is lost: clusters may leak, and copied flags may be missing, which a
// check calls errors and a repair corrects.
// REQUIRES: the caller holds Context::guest_lock exclusively for everything.
class RemovalInPlace {
 public:
  RemovalInPlace(Context* context, Tables* tables, Reader* reader, Refcounts* refcounts,
                 Allocator* allocator, Flusher* flusher)
      : context_(context),
        tables_(tables),
        reader_(reader),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher) {}

  // Whether the entry can be removed without a new table: it is the last one.
  static bool is_possible(size_t index, size_t snapshots) { return index + 1 == snapshots; }
  // Removes the last entry from the table of `snapshots`, which has that many bytes.
  Task<void> remove_last_entry(uint64_t table_size, uint32_t snapshots);
  // Frees what the L1 table of a snapshot that is in no table refers to, and the table itself.
  Task<void> free_clusters(layout::Snapshot snapshot, std::vector<uint64_t> l1);

 private:
  Task<void> correct_flags();
  Task<void> correct_flags_in(layout::HostOffset l2_table);

  Context* context_;
  Tables* tables_;
  Reader* reader_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
};

}  // namespace byre::qcow2
