// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "async/task.h"
#include "qcow2/check/check.h"

namespace byre::qcow2 {

enum class RepairScope {
  kLeaks,  // gives back space that nothing refers to; changes what else is wrong only where QEMU
           // does
  kAll,
};

struct RepairOptions {
  RepairScope scope = RepairScope::kAll;
  // With kAll: what cannot be read is given up. References past the end of the file become zeroes,
  // or are dropped; so are snapshots whose entry or L1 table cannot be read. Each is told by name,
  // as far as it has one.
  bool drops_unreadable = false;
  // As for a check; told are the findings of the check that a repair begins with, what is repaired,
  // and the findings of the check that it ends with.
  CheckOptions check;
  // Something was repaired: called before the last check.
  std::function<void(uint64_t leaks_fixed, uint64_t corruptions_fixed)> on_fixed;
};

struct RepairResult {
  // How the image is now: the last check if something was repaired, else the first.
  CheckResult check;
  uint64_t leaks_fixed = 0;
  uint64_t corruptions_fixed = 0;
  bool is_clean() const { return check.corruptions == 0 && check.check_errors == 0; }
};

// Checks an image and repairs what it finds, as far as that can be done without losing anything that
// could be read before:
//
// - refcounts become the number of references. Where they should not be repaired in their places, a
//   new refcount table with new blocks is written past the end, and the header switched to it; into
//   free clusters where the file cannot grow, or refers past its end and so may be a part of one.
//   Where there is no room, blocks that are in order but for their values are written in place.
// - copied flags become what the refcounts say.
// - entries: see EntryRepair. Snapshot table entries that version 3 calls incomplete are
//   completed; the size of their extra data is put right where that is what makes them unreadable.
// - bitmaps that cannot be used are removed, unless something else leads past the end of the file.
// - a refcount table, or an active L1 table, that is something else as well moves away from there.
// - dirty and corrupt bit are taken away if a last check finds no corruption.
//
// While something cannot be followed, leaked clusters are kept: they may be what it led to.
// References past the end of the file stay: the rest of the file may yet arrive.
//
// Durable when done. Throws Error where check() does, where the scope forbids what is needed, and for every failed read and
// write; whatever stops it, power included, leaves an image that can be repaired and has all that
// could be read before. Findings tell how far it went.
Task<RepairResult> repair(CheckSubject subject, RepairOptions options);

}  // namespace byre::qcow2
