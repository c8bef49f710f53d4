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
// - An entry that is being read or written, or pinned, is not evicted. invalidate() takes it out of the
//   map all the same; then it lives until its last pin is gone, and nothing of it is written.
// - An entry that is dirty leaves the map only through invalidate() and invalidate_all(), which hold the write
//   mutex: so a write-back may keep pointers to dirty entries across awaits.
// - What a write-back writes is a copy taken at one moment, and every rule (depend_on) that was set
//   before that moment is fulfilled before the copy is written. Rules that come later are about
//   changes that the copy does not have; waiting for them as well could go on for ever.
namespace byre::qcow2 {

struct TableCache::Entry {
  uint64_t offset = 0;
  Buffer buffer;  // empty where packed is not
  std::optional<layout::PackedL2> packed;
  uint64_t generation = 0;  // of the cache, when it was last asked for
  uint32_t pins = 0;
  bool dirty = false;
  bool loaded = false;
  bool has_space = false;  // in the file: writing it cannot fail for lack of it
  bool removed = false;    // not in entries_ any more
  Entry* newer = nullptr;
  Entry* older = nullptr;
  WaiterList waiting;  // for loaded, or for the failure of the read
};

}  // namespace byre::qcow2
