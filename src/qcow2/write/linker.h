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
// Only L2 tables that the active disk does not share are changed: a missing table is created, and
// one shared with a snapshot is copied, before its first entry is changed. An entry reaches the
// disk after the refcounts (unless they are lazy) and the data of what it refers to, because the
// cache of L2 tables depends on them. What an entry no longer refers to goes to
// Allocator::defer_free().
//
// REQUIRES: the caller holds Context::guest_lock exclusively for the clusters that it changes.
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

  // Returns the new entry for the old one, cluster by cluster; `index` counts from 0. May be called
  // more than once for a cluster.
  using Change = std::function<layout::L2Entry(uint64_t index, const layout::L2Entry& old)>;

  // Changes the entries of `count` clusters starting with the cluster of `first`: all of them, or,
  // if it throws, none. `count` is at most clusters_max().
  Task<void> change(GuestOffset first, uint64_t count, const Change& new_entry);
  // What happens to the bytes of clusters that no entry uses any more and that are not freed: those
  // that keep their offset, and those of an external data file.
  enum class Emptied { kKept, kDiscarded };
  // The same for entries that refer to nothing new, as after zeroing and discarding: they do not
  // wait for anything on their way to the disk. An entry that breaks the format's rules may be
  // replaced by one that keeps nothing of it; a cluster at an impossible offset is reported, and
  // leaks.
  Task<void> change_releasing(GuestOffset first, uint64_t count, const Change& new_entry,
                              Emptied emptied);
  uint64_t clusters_max() const;
  // Makes sure that the L2 table of that guest offset exists, is not shared, and has its space in
  // the file. A writer calls it before it allocates data, as QEMU does; change() does it itself.
  Task<void> ensure_table(GuestOffset guest_offset);
  // Whether that entry, of the cluster at that offset, breaks the format's rules.
  bool is_faulty(const layout::L2Entry& entry, GuestOffset cluster) const;
  // Whether the host cluster of an entry that has one is at a valid offset; reports it if not.
  bool may_free(const layout::L2Entry& entry) const;
  // Throws Health::report_corruption() if the entry, which is of this byte range of one cluster,
  // breaks the format's rules.
  // REQUIRES: the slice of the entry is in the cache.
  void check_entry(const layout::L2Entry& entry, GuestOffset offset, uint64_t length) const;

  // Held while the tables that the L1 table refers to, and then the L1 table, are written: no table
  // may be added meanwhile.
  Mutex& l1_mutex() { return l1_mutex_; }

 private:
  // The slices with the entries of those clusters, in tables that may be changed. All entries are
  // valid, except those of which `new_entry` keeps nothing.
  Task<std::vector<TableCache::Slice>> slices_of(GuestOffset first, uint64_t count,
                                                 const Change* new_entry);
  void replace(const std::vector<TableCache::Slice>& slices, GuestOffset first, uint64_t count,
               const Change& new_entry, FreeCause cause, Emptied emptied);
  Task<void> fill_table(layout::HostOffset new_table, layout::HostOffset old_table);
  // A new table that could not be made is free again.
  Task<void> drop_table(layout::HostOffset table);
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
