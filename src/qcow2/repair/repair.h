// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "async/task.h"
#include "qcow2/check/check.h"

namespace byre::qcow2 {

enum class RepairScope {
  kLeaks,  // frees space that nothing refers to; repairs other errors only if QEMU does
  kAll,
};

struct RepairOptions {
  RepairScope scope = RepairScope::kAll;
  // With kAll: gives up what cannot be read. References past the end of the file become zeroes, or
  // are dropped; so are snapshots whose entry or L1 table cannot be read. Each is reported, by name
  // if it has one.
  bool drops_unreadable = false;
  // As for a check. Reported are the findings of the first check, what is repaired, and the
  // findings of the last check.
  CheckOptions check;
  // Called before the last check if something was repaired.
  std::function<void(uint64_t leaks_fixed, uint64_t corruptions_fixed)> on_fixed;
};

struct RepairResult {
  // The state of the image now: the last check if something was repaired, else the first.
  CheckResult check;
  uint64_t leaks_fixed = 0;
  uint64_t corruptions_fixed = 0;
  bool is_clean() const { return check.corruptions == 0 && check.check_errors == 0; }
};

// Checks an image and repairs what it finds, as far as possible without losing anything that could
// be read before:
//
// - refcounts become the number of references. If they should not be repaired in place, a new
//   refcount table with new blocks is written past the end of file, and the header switched to it;
//   it is written to free clusters instead if the file cannot grow, or refers past its end and so
//   may be only a part of the whole. If there is no space, blocks with nothing wrong but their
//   values are written in place.
// - copied flags become what the refcounts say.
// - entries: see EntryRepair. Snapshot table entries that are incomplete for version 3 are
//   completed; the size of their extra data is corrected if that is what makes them unreadable.
// - bitmaps that cannot be used are removed, unless something else leads past the end of the file.
// - a refcount table, or an active L1 table, that is also something else is moved.
// - the dirty and corrupt bits are cleared if the last check finds no corruption.
//
// While something cannot be followed, leaked clusters are kept: they may be what it led to.
// References past the end of the file stay: the rest of the file may yet arrive.
//
// Durable when done. Throws Error if check() does, if the scope forbids what is needed, and for
// every failed read and write. Whatever stops it, power failure included, leaves an image that can
// be repaired and has everything that could be read before. The findings tell how far it got.
Task<RepairResult> repair(CheckSubject subject, RepairOptions options);

}  // namespace byre::qcow2
