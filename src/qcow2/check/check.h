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
  // Refcounts against references. `index` is the cluster's number in the file.
  kLeakedCluster,         // offset, index, refcount > references: space is lost, data is not
  kRefcountTooLow,        // offset, index, refcount < references: may be allocated again
  kRefcountUnreadable,    // offset, index
  kRefcountOverflow,      // offset: more references than the image's refcounts can count
  kReferenceOutsideFile,  // offset, value: bytes
  kReferenceRemoved,      // offset, value: the entry; it was past the end of the file
  // L1 and L2 tables.
  kL1ReservedBits,           // value: the entry
  kL2TableUnaligned,         // offset
  kL2ReservedBits,           // value: the entry
  kClusterUnaligned,         // offset: of a cluster with data
  kZeroClusterUnaligned,     // offset: of an allocated cluster that reads as zeroes
  kCompressedCopied,         // offset, value: the entry; has the copied flag
  kCompressedInDataFile,     // index in the L2 table, value: the entry
  kCompressedSubclusters,    // index in the L2 table, value: the entry
  kSubclusterContradiction,  // offset: a subcluster both allocated and zero
  kSubclustersUnallocated,   // subclusters are allocated, the cluster is not
  kCopiedFlagL2Table,  // index in the L1 table, value: the entry, refcount: the flag contradicts it
  kCopiedFlagCluster,  // value: the L2 entry, refcount
  kL1TableUnreadable,
  kL2TableUnreadable,
  kCopiedFlagsUnreadable,  // offset: of the L2 table, cause
  // Snapshots and bitmaps. `index` is the one of the entry in the table or directory.
  kSnapshotTableRefused,     // offset, value: entries, cause: of the header's fields
  kSnapshotTableUnreadable,  // offset, cause
  kSnapshotsUnreadable,      // offset, index: of the first one, value: how many, cause
  kSnapshotIncomplete,       // index
  kSnapshotExtraDataCut,     // index, value: bytes that it had
  kSnapshotExtraDataSize,    // index: the size of its extra data was found by trying
  kSnapshotL1Unaligned,      // id, name, offset
  kSnapshotL1TooLarge,       // id, name, offset, value: entries
  kSnapshotsWithDataFile,    // value: count
  kBitmapTable,              // offset: of the entry, value: the entry; only counted
  kBitmapUnreadable,         // index, name, cause
  kBitmapCountWrong,         // value: entries of the directory, bound: what the header says
  // Refcount table and blocks. `index` is the one of the block.
  kRefcountTableReservedBits,  // offset, index
  kRefcountBlockUnaligned,     // offset, index
  kRefcountBlockNotRead,       // offset, index: because it is unaligned
  kRefcountBlockOutside,       // offset, index
  kRefcountBlockShared,        // offset, index, references
  // About the repair itself.
  kRefcountsRebuilt,  // at a new offset
  kRebuildNeeded,     // but not allowed
  kTablesMoved,       // to clusters of their own
  kLeaksKept,         // something unreadable may refer to them
  kPastEndKept,       // references past the end of file, to data that may yet arrive
  kSnapshotsRemoved,  // offset, index: of the first one, value: how many, cause
  kSnapshotRemoved,   // index, id, name, cause
  kBitmapRemoved,     // index, name
  kNoRoom,            // for new tables; cause
  kNoRoomPastEnd,     // nor is there any past the end, where tables may yet arrive; cause
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
  uint64_t index = 0;
  uint64_t value = 0;
  uint64_t bound = 0;
  uint64_t refcount = 0;    // as the image has it
  uint64_t references = 0;  // as counted
  std::string id;           // of a snapshot
  std::string name;         // of a snapshot or bitmap; empty: it cannot be read
  std::optional<Error> cause;
  bool is_repaired = false;  // by repair(): no longer true
};

// What a finding says, without its cause. The two numbers of a refcount are its value and bound, and
// an id is its text.
ErrorData data_of(const Finding& finding);
// The same as an error, which nobody throws.
Error problem_of(const Finding& finding);

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
