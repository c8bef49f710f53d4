// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "async/cancellation.h"
#include "async/task.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/header.h"

namespace byre::qcow2 {

// The subject of a finding, with the fields of Finding that each one uses.
enum class FindingKind {
  // Refcounts against references.
  kLeakedCluster,         // offset, refcount > references: space is lost, data is not
  kRefcountTooLow,        // offset, refcount < references: the cluster may be allocated again
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
  kBitmapTable,            // value: the entry (counted; QEMU has no message for it)
  kBitmapUnreadable,       // value: index of the directory entry
  // Refcount table and blocks.
  kRefcountTableReservedBits,  // value: index
  kRefcountBlockUnaligned,     // value: index
  kRefcountBlockOutside,       // value: index
  kRefcountBlockShared,        // value: index, refcount: references to it
  // About the repair itself.
  kRefcountsRebuilt,  // at a new offset
  kRebuildNeeded,     // but not allowed
  kTablesMoved,       // to clusters of their own
  kLeaksKept,         // something unreadable may refer to them
  kPastEndKept,       // references past the end of file, to data that may yet arrive
  kSnapshotRemoved,   // value: index of the entry
  kBitmapRemoved,     // value: index of the directory entry
  kNoRoom,            // for new tables; value: bytes that are missing
};

enum class Severity {
  kNote,        // detail of another finding, or of the error that ends the check
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
  // One or more lines, without the last newline, with QEMU's wording; empty if QEMU prints nothing.
  std::string text;
  // If the text quotes an error: that error, with the rest of the text as its prefix and suffix, so
  // that its message is the text.
  std::optional<Error> error;
  // QEMU prints the program's name before the text.
  bool names_program = false;
  bool is_repaired = false;  // by repair(): no longer true
};

struct CheckOptions {
  // Called for each finding, in the order of the check. An exception from it ends the check.
  std::function<void(const Finding&)> on_finding;
  // on_finding is called at most this many times; further findings are only counted. A hostile
  // image of a few KiB can cause billions of findings.
  uint64_t findings_max = 1000000;
  // Called now and then; only the ratio of the two numbers has a meaning.
  std::function<void(uint64_t done, uint64_t total)> on_progress;
  const Cancellation* cancellation = nullptr;
  // Set by repair(): findings that the check repairs itself are reported as repaired.
  bool repairs = false;
  // Set by repair(): a snapshot table that cannot be read is a finding, and the check continues
  // without it.
  bool is_repair = false;
  // Set by repair(): RepairOptions::drops_unreadable.
  bool drops_unreadable = false;
};

// Cluster counts of the active disk.
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
  uint64_t image_end_offset = 0;     // end of the last cluster in use
  ClusterStatistics clusters;
};

// What to check; `file` must outlive the task.
struct CheckSubject {
  BlockDevice* file = nullptr;
  layout::Header header;
  layout::Extensions extensions;
};

// Counts every reference of an image (header, L1 and L2 tables of the active disk and of all
// snapshots, snapshot table, encryption header, bitmaps, refcount table and blocks), compares the
// counts with the refcounts, and checks every entry on the way. Reads only, changes nothing, prints
// nothing.
//
// Any bytes in the file end in findings; memory is bounded by the data that the file holds, not by
// the virtual size nor by the file's holes. Throws Error if the check cannot continue: `message` is
// then what QEMU prints after "Check failed: ", and earlier findings have details.
Task<CheckResult> check(CheckSubject subject, CheckOptions options);

}  // namespace byre::qcow2
