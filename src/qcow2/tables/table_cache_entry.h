// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "async/waiter.h"
#include "block/buffer.h"
#include "qcow2/layout/l2_stretch.h"
#include "qcow2/tables/table_cache.h"

// Invariants:
// - An entry that is being read or written, or is pinned, is not evicted. invalidate() still
//   removes it from the map; it then lives until its last pin is gone, and is not written any more.
// - A dirty entry leaves the map only through invalidate() and invalidate_all(), which hold the
//   write mutex: so a write-back may keep pointers to dirty entries across awaits.
// - A write-back writes copies taken at one moment, and every dependency (depend_on) set before
//   that moment is satisfied before the copies are written. Later dependencies concern changes that
//   the copies do not contain; waiting for those as well might never end.
namespace byre::qcow2 {

struct TableCache::Entry {
  uint64_t offset = 0;
  Buffer buffer;  // empty if packed is set
  std::optional<layout::PackedL2> packed;
  uint64_t generation = 0;  // of the cache, when the entry was last requested
  uint32_t pins = 0;
  bool dirty = false;
  bool loaded = false;
  bool has_space = false;  // in the file: writing it cannot fail for lack of space
  bool removed = false;    // no longer in entries_
  Entry* newer = nullptr;
  Entry* older = nullptr;
  WaiterList waiting;  // for loaded, or for the failure of the read
};

}  // namespace byre::qcow2
