// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/types.h"
#include "qcow2/tables/tables.h"

namespace byre::qcow2 {

class Allocator;
class DeferredDiscards;
class Mapping;
class OverlapCheck;
class Reader;
enum class FreeCause : uint8_t;

using layout::GuestOffset;

// Changes L2 entries. Part of an image's WriteParts.
//
// The L2 tables that are changed are the active disk's own: a missing table is made, one that a
// snapshot shares is copied, before the first entry is changed. An entry reaches the disk after the
// refcounts (unless they are lazy) and the data of what it refers to, because the cache of L2
// tables depends on them. What an entry referred to before and does not any more goes to
// Allocator::defer_free().
//
// Callers hold Context::guest_lock exclusive for the clusters that they change.
class Linker {
 public:
  Linker(Context* context, Tables* tables, Mapping* mapping, Reader* reader, Allocator* allocator,
         DeferredDiscards* discards, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        mapping_(mapping),
        reader_(reader),
        allocator_(allocator),
        discards_(discards),
        overlap_(overlap) {}

  // Cluster by cluster, the new entry for the old one; `index` counts from 0. It may be called more
  // than once for a cluster.
  using Change = std::function<layout::L2Entry(uint64_t index, const layout::L2Entry& old)>;

  // Changes the entries of `count` clusters from the cluster of `first` on: all of them, or, where
  // it throws, none. `count` is bounded by clusters_max().
  Task<void> change(GuestOffset first, uint64_t count, const Change& new_entry);
  // What becomes of the bytes of clusters that no entry reads any more and that nobody frees: those
  // that are kept for their place, and those of an external data file.
  enum class Emptied { kKept, kDiscarded };
  // The same for entries that refer to nothing that they did not refer to before, zeroes and
  // discards: they wait for nothing on their way to the disk. An entry that breaks the format's
  // rules may be replaced by one that has nothing of it; a cluster at an impossible place is
  // reported, and leaks.
  Task<void> change_releasing(GuestOffset first, uint64_t count, const Change& new_entry,
                              Emptied emptied);
  uint64_t clusters_max() const;
  // The L2 table of that guest offset is there, not shared, and has its space in the file. For a
  // writer before it allocates data, as QEMU does; changes do it themselves.
  Task<void> ensure_table(GuestOffset guest_offset);
  // Whether the entry of the cluster at that offset breaks the format's rules.
  bool is_faulty(const layout::L2Entry& entry, GuestOffset cluster) const;
  // Whether the cluster of an entry that has one lies where clusters lie; tells of one that does
  // not.
  bool may_free(const layout::L2Entry& entry) const;
  // Throws Health::report_corruption() where the entry of these bytes of one cluster, whose slice is in the
  // cache, does so.
  void check_entry(const layout::L2Entry& entry, GuestOffset offset, uint64_t length) const;

  // Held while the tables that the L1 table refers to, and then the L1 table, go to disk: nobody
  // adds a table meanwhile.
  Mutex& l1_mutex() { return l1_mutex_; }

 private:
  // The slices with the entries of those clusters, in tables that may be changed. All of the
  // entries are sound, but for those of which `new_entry` leaves nothing.
  Task<std::vector<TableCache::Slice>> slices_of(GuestOffset first, uint64_t count,
                                                 const Change* new_entry);
  void replace(const std::vector<TableCache::Slice>& slices, GuestOffset first, uint64_t count,
               const Change& new_entry, FreeCause cause, Emptied emptied);
  Task<void> fill_table(layout::HostOffset new_table, layout::HostOffset old_table);
  void free_former(const layout::L2Entry& before, const layout::L2Entry& after, FreeCause cause);
  void discard_former(const layout::L2Entry& before, const layout::L2Entry& after,
                      GuestOffset cluster);

  Context* context_;
  Tables* tables_;
  Mapping* mapping_;
  Reader* reader_;
  Allocator* allocator_;
  DeferredDiscards* discards_;
  OverlapCheck* overlap_;
  Mutex l1_mutex_;
};

}  // namespace byre::qcow2
