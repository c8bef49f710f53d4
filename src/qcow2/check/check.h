// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "async/cancellation.h"
#include "async/task.h"
#include "block/block_device.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/header.h"

namespace byre::qcow2 {

// What a finding is about. The fields of Finding that each one uses stand behind it.
enum class FindingKind {
  // Refcounts against references.
  kLeakedCluster,         // offset, refcount > references: space is lost, data is not
  kRefcountTooLow,        // offset, refcount < references: the cluster may be given away again
  kRefcountUnreadable,    // offset
  kRefcountOverflow,      // offset: more references than the image's refcounts can count
  kReferenceOutsideFile,  // offset, value: bytes
  // L1 and L2 tables.
  kL1ReservedBits,           // value: the entry
  kL2TableUnaligned,         // offset
  kL2ReservedBits,           // value: the entry
  kClusterUnaligned,         // offset
  kCompressedCopied,         // offset: the copied flag on a compressed cluster
  kCompressedInDataFile,     // value: the entry
  kCompressedSubclusters,    // value: the entry
  kSubclusterContradiction,  // offset: a subcluster both allocated and zero
  kSubclustersUnallocated,   // subclusters are allocated, the cluster is not
  kCopiedFlagL2Table,  // value: the L1 entry, refcount: flag and refcount contradict each other
  kCopiedFlagCluster,  // value: the L2 entry, refcount
  kTableUnreadable,
  // Snapshots and bitmaps.
  kSnapshotTableUnreadable,
  kSnapshotIncomplete,     // value: index of the entry
  kSnapshotExtraData,      // value: index of the entry; only a repair gets past it
  kSnapshotL1Unaligned,    // offset
  kSnapshotL1TooLarge,     // value: entries
  kSnapshotsWithDataFile,  // value: count
  kBitmapTable,            // value: the entry (counted; QEMU has no words for it)
  kBitmapUnreadable,       // value: index of the directory entry
  // Refcount table and blocks.
  kRefcountTableReservedBits,  // value: index
  kRefcountBlockUnaligned,     // value: index
  kRefcountBlockOutside,       // value: index
  kRefcountBlockShared,        // value: index, refcount: references to it
  // What a repair has to say of itself.
  kRefcountsRebuilt,  // in a new place
  kRebuildNeeded,     // and not allowed
  kTablesMoved,       // to places of their own
  kLeaksKept,         // they may be what something unreadable refers to
  kPastEndKept,       // references past the end of the file, for what may yet arrive
  kSnapshotRemoved,   // value: index of the entry
  kBitmapRemoved,     // value: index of the directory entry
  kNoRoom,            // for new tables; value: bytes that are missing
};

enum class Severity {
  kNote,        // belongs to another finding, or leads to the error that ends the check
  kLeak,        // space is lost
  kCorruption,  // data is, or may soon be, damaged
  kCheckError,  // could not be checked
};

struct Finding {
  FindingKind kind = FindingKind::kLeakedCluster;
  Severity severity = Severity::kCorruption;
  uint64_t offset = 0;  // in the image file, in bytes
  uint64_t value = 0;
  uint64_t refcount = 0;    // as the image has it
  uint64_t references = 0;  // as counted
  // One line or several, without the last newline, in QEMU's words; empty where QEMU says nothing.
  std::string text;
  // QEMU puts the program's name before the text.
  bool names_program = false;
  bool is_repaired = false;  // by repair(): what was found is so no more
};

struct CheckOptions {
  // Called for each finding, in the order of the check. What it throws ends the check.
  std::function<void(const Finding&)> on_finding;
  // on_finding is called so many times at most; the rest is only counted. A hostile image of a few
  // KiB can make thousands of millions of findings.
  uint64_t findings_max = 1000000;
  // Called now and then; in units that mean nothing but the share that is done.
  std::function<void(uint64_t done, uint64_t total)> on_progress;
  const Cancellation* cancellation = nullptr;
  // Set by repair(): findings that it repairs at once are told as repaired.
  bool repairs = false;
  // Set by repair(): a snapshot table that cannot be read is a finding, and the check goes on
  // without it.
  bool is_repair = false;
  // Set by repair(): RepairOptions::drops_unreadable.
  bool drops_unreadable = false;
};

// The numbers of clusters are those of the active disk.
struct ClusterStatistics {
  uint64_t total = 0;
  uint64_t allocated = 0;
  uint64_t fragmented = 0;  // those that do not follow their predecessor, and all compressed ones
  uint64_t compressed = 0;
  bool operator==(const ClusterStatistics&) const = default;
  void add(const ClusterStatistics& other) {
    allocated += other.allocated;
    fragmented += other.fragmented;
    compressed += other.compressed;
  }
};

struct CheckResult {
  uint64_t corruptions = 0;
  uint64_t leaks = 0;
  uint64_t check_errors = 0;
  uint64_t findings_unreported = 0;  // beyond CheckOptions::findings_max
  uint64_t image_end_offset = 0;     // behind the last cluster in use
  ClusterStatistics clusters;
};

// What to check; `file` outlives the task.
struct CheckSubject {
  BlockDevice* file = nullptr;
  layout::Header header;
  layout::Extensions extensions;
};

// Counts every reference of an image (header, L1 and L2 tables of the active disk and of all
// snapshots, snapshot table, encryption header, bitmaps, refcount table and blocks) and compares
// with the refcounts; checks every entry on its way. Reads only, changes nothing, prints nothing.
//
// Whatever is in the file ends in findings; memory is bounded by what the file holds, not by the
// virtual size nor by the holes of the file. Throws Error where the check cannot go on: then
// `message` is what QEMU prints after "Check failed: ", and findings before it have more.
Task<CheckResult> check(CheckSubject subject, CheckOptions options);

}  // namespace byre::qcow2
