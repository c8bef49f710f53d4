// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/layout/types.h"
#include "qcow2/snapshots/snapshot_selector.h"
#include "qcow2/tables/tables.h"
#include "qcow2/update/table_update.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class OverlapCheck;
class Reader;
class Refcounts;

// What the caller says about a snapshot to be created. The image adds the size of the disk, and the
// tables.
struct NewSnapshot {
  // Of a snapshot of another image that is copied, whose name may have any length. Nothing: the next
  // number.
  std::optional<std::string> id;
  std::string name;                         // at most 255 bytes
  uint32_t date_sec = 0;                    // since the Epoch
  uint32_t date_nsec = 0;                   // below 10^9
  uint64_t vm_clock_nsec = 0;               // of the virtual machine
  uint64_t vm_state_size = 0;               // bytes that were written to the VM state area; 0: none
  uint64_t icount = 0;                      // executed guest instructions; all ones: not known
  std::vector<uint8_t> unknown_extra_data;  // see layout::Snapshot
};

// The size of the snapshot's disk, in an image whose disk has `image_size` bytes. Throws
// Error(kCorrupt) if no disk can have that size.
uint64_t valid_disk_size(const layout::Snapshot& snapshot, uint64_t image_size,
                         const layout::Geometry& geometry);

// Creates, applies and deletes internal snapshots of an open image. Part of WriteParts.
//
// Each operation waits until no request is in flight, and happens as a whole or not at all, also in
// a power cut: see TableUpdate. It is durable when it is done.
class Snapshots {
 public:
  Snapshots(Context* context, Tables* tables, std::vector<layout::Snapshot>* snapshots,
            const std::vector<layout::BitmapEntry>* bitmaps, Reader* reader, Refcounts* refcounts,
            Allocator* allocator, Flusher* flusher, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        snapshots_(snapshots),
        bitmaps_(bitmaps),
        reader_(reader),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher),
        overlap_(overlap) {}

  // What the operations would throw before they change anything.
  void check_create(const NewSnapshot& snapshot) const;
  void check_apply(const SnapshotSelector& selector) const;
  void check_remove(const SnapshotSelector& selector) const;

  // The snapshot gets the VM state, if it has one, and the disk keeps none.
  Task<void> create(NewSnapshot snapshot);
  // The disk gets the contents, the size and the VM state of that snapshot.
  Task<void> apply(SnapshotSelector selector);
  Task<void> remove(SnapshotSelector selector);
  // In bytes. Needs no preparation for writing.
  Task<uint64_t> size_freed_by_removing(SnapshotSelector selector);

 private:
  void check_no_data_file() const;
  std::string new_id() const;
  layout::Snapshot entry_of(NewSnapshot wanted) const;
  std::vector<uint64_t> l1_without_vm_state() const;
  Task<std::vector<uint64_t>> load_l1(layout::Snapshot snapshot);
  Task<void> commit(TableUpdate* update, std::vector<layout::Snapshot> snapshots, uint64_t size);
  Task<void> finish(TableUpdate* update);
  Task<void> remove_entry(size_t index);
  Task<void> drop_clusters(layout::Snapshot snapshot, std::vector<uint64_t> l1);
  void warn_of_leaks(const layout::Snapshot& snapshot) const;
  Task<bool> try_to_drop(const layout::Snapshot* snapshot, const std::vector<uint64_t>* l1,
                         TableUpdate::Dropped dropped);
  Task<void> drop_all(TableUpdate* update, const layout::Snapshot* snapshot,
                      const std::vector<uint64_t>* l1, TableUpdate::Dropped dropped);

  Context* context_;
  Tables* tables_;
  std::vector<layout::Snapshot>* snapshots_;
  const std::vector<layout::BitmapEntry>* bitmaps_;
  Reader* reader_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
  OverlapCheck* overlap_;
};

}  // namespace byre::qcow2
