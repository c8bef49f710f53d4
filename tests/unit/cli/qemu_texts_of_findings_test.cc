// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "cli/qemu_text.h"

namespace byre::cli {
namespace {

using jobs::Finding;
using jobs::FindingKind;
using jobs::Severity;

struct FindingCase {
  Finding finding;
  std::string text;
};

Error reason(int errno_value) {
  return Error(ErrorKind::kCorrupt, errno_value, ErrorData{.code = "qcow2-snapshot-unreadable"},
               "why not");
}

// What qemu-img 10.0.2 prints, without the line end.
const std::vector<FindingCase>& cases_of_qemu() {
  static const std::vector<FindingCase> all = {
      {{.kind = FindingKind::kLeakedCluster, .index = 7, .refcount = 1},
       "Leaked cluster 7 refcount=1 reference=0"},
      {{.kind = FindingKind::kRefcountTooLow, .index = 7, .references = 2},
       "ERROR cluster 7 refcount=0 reference=2"},
      {{.kind = FindingKind::kLeakedCluster, .index = 7, .refcount = 1, .is_repaired = true},
       "Repairing cluster 7 refcount=1 reference=0"},
      {{.kind = FindingKind::kRefcountTooLow, .index = 7, .references = 2, .is_repaired = true},
       "Repairing cluster 7 refcount=0 reference=2"},
      {{.kind = FindingKind::kRefcountUnreadable, .index = 7},
       "Can't get refcount for cluster 7: Input/output error"},
      {{.kind = FindingKind::kRefcountOverflow, .offset = 0x50000},
       "ERROR: overflow cluster offset=0x50000\nUse qemu-img amend to increase the refcount entry "
       "width or qemu-img convert to create a clean copy if the image cannot be opened for "
       "writing"},
      {{.kind = FindingKind::kReferenceOutsideFile, .offset = 0x50000, .value = 512},
       "ERROR: counting reference for region exceeding the end of the file by one cluster or more: "
       "offset 0x50000 size 0x200"},
      {{.kind = FindingKind::kL1ReservedBits, .value = 0x10001},
       "ERROR found L1 entry with reserved bits set: 10001"},
      {{.kind = FindingKind::kL2TableUnaligned, .offset = 0x201},
       "ERROR l2_offset=201: Table is not cluster aligned; L1 entry corrupted"},
      {{.kind = FindingKind::kL2ReservedBits, .value = 0x10002},
       "ERROR found l2 entry with reserved bits set: 10002"},
      {{.kind = FindingKind::kClusterUnaligned, .offset = 0x200},
       "ERROR offset=200: Data cluster is not properly aligned; L2 entry corrupted."},
      {{.kind = FindingKind::kZeroClusterUnaligned, .offset = 0x200},
       "ERROR offset=200: Preallocated cluster is not properly aligned; L2 entry corrupted."},
      {{.kind = FindingKind::kClusterUnaligned, .offset = 0x200, .is_repaired = true},
       "Repairing offset=200: Data cluster is not properly aligned; L2 entry corrupted."},
      {{.kind = FindingKind::kZeroClusterUnaligned, .offset = 0x200, .is_repaired = true},
       "Repairing offset=200: Preallocated cluster is not properly aligned; L2 entry corrupted."},
      {{.kind = FindingKind::kCompressedCopied, .offset = 0x5123, .value = 1},
       "ERROR: coffset=0x5123: copied flag must never be set for compressed clusters"},
      {{.kind = FindingKind::kCompressedInDataFile, .index = 6, .value = 0x5000},
       "ERROR compressed cluster 6 with data file, entry=0x5000"},
      {{.kind = FindingKind::kCompressedSubclusters, .index = 4, .value = 0x5000},
       "ERROR compressed cluster 4 with non-zero subcluster allocation bitmap, entry=0x5000"},
      {{.kind = FindingKind::kSubclusterContradiction, .offset = 0x50000},
       "ERROR offset=50000: Allocated cluster has corrupted subcluster allocation bitmap"},
      {{.kind = FindingKind::kSubclustersUnallocated, .value = 1},
       "ERROR: Unallocated cluster has non-zero subcluster allocation map"},
      {{.kind = FindingKind::kCopiedFlagL2Table, .index = 3, .value = 0x40000, .refcount = 1},
       "ERROR OFLAG_COPIED L2 cluster: l1_index=3 l1_entry=40000 refcount=1"},
      {{.kind = FindingKind::kCopiedFlagL2Table,
        .index = 3,
        .value = 0x40000,
        .refcount = 1,
        .is_repaired = true},
       "Repairing OFLAG_COPIED L2 cluster: l1_index=3 l1_entry=40000 refcount=1"},
      {{.kind = FindingKind::kCopiedFlagCluster, .value = 0x50000, .refcount = 2},
       "ERROR OFLAG_COPIED data cluster: l2_entry=50000 refcount=2"},
      {{.kind = FindingKind::kCopiedFlagCluster,
        .value = 0x50000,
        .refcount = 2,
        .is_repaired = true},
       "Repairing OFLAG_COPIED data cluster: l2_entry=50000 refcount=2"},
      {{.kind = FindingKind::kL1TableUnreadable}, "ERROR: I/O error in check_refcounts_l1"},
      {{.kind = FindingKind::kL2TableUnreadable}, "ERROR: I/O error in check_refcounts_l2"},
      {{.kind = FindingKind::kCopiedFlagsUnreadable, .cause = reason(EIO)},
       "ERROR: Could not read L2 table: Input/output error"},
      {{.kind = FindingKind::kSnapshotTableRefused, .cause = reason(EINVAL)},
       "byre: ERROR snapshot table offset invalid"},
      {{.kind = FindingKind::kSnapshotIncomplete, .index = 2},
       "ERROR snapshot table entry 2 is incomplete"},
      {{.kind = FindingKind::kSnapshotIncomplete, .index = 2, .is_repaired = true},
       "Repairing snapshot table entry 2 is incomplete"},
      {{.kind = FindingKind::kSnapshotExtraDataCut,
        .index = 2,
        .value = 2016,
        .bound = 1024,
        .is_repaired = true},
       "Discarding too much extra metadata in snapshot table entry 2 (2016 > 1024)"},
      {{.kind = FindingKind::kSnapshotL1Unaligned, .offset = 0x1201, .id = "1", .name = "a"},
       "ERROR snapshot 1 (a) l1_offset=0x1201: L1 table is not cluster aligned; snapshot table "
       "entry corrupted"},
      {{.kind = FindingKind::kSnapshotL1TooLarge,
        .value = 0x400001,
        .id = "1",
        .name = std::string("a\0b", 3)},
       "ERROR snapshot 1 (a) l1_size=0x400001: L1 table is too large; snapshot table entry "
       "corrupted"},
      {{.kind = FindingKind::kSnapshotsWithDataFile, .value = 2},
       "ERROR 2 snapshots in image with data file"},
      {{.kind = FindingKind::kRefcountTableReservedBits, .index = 5},
       "ERROR refcount table entry 5 has reserved bits set"},
      {{.kind = FindingKind::kRefcountBlockUnaligned, .offset = 0x201, .index = 5},
       "ERROR refcount block 5 is not cluster aligned; refcount table entry corrupted"},
      {{.kind = FindingKind::kRefcountBlockNotRead, .severity = Severity::kNote, .offset = 0x10200},
       "qcow2: Image is corrupt: Refblock offset 0x10200 unaligned (reftable index: 0); further "
       "non-fatal corruption events will be suppressed"},
      {{.kind = FindingKind::kRefcountBlockOutside, .index = 5},
       "ERROR refcount block 5 is outside image"},
      {{.kind = FindingKind::kRefcountBlockShared, .index = 5, .references = 2},
       "ERROR refcount block 5 refcount=2"},
      {{.kind = FindingKind::kRefcountsRebuilt, .severity = Severity::kNote},
       "Rebuilding refcount structure"},
      {{.kind = FindingKind::kRebuildNeeded, .severity = Severity::kNote},
       "ERROR need to rebuild refcount structures"},
  };
  return all;
}

// Where QEMU has no such finding.
const std::vector<FindingCase>& own_cases() {
  static const std::vector<FindingCase> all = {
      {{.kind = FindingKind::kReferenceRemoved, .value = 0x50000, .is_repaired = true},
       "Repairing reference beyond the end of the file: entry=50000"},
      {{.kind = FindingKind::kCompressedCopied, .value = 0x50000, .is_repaired = true},
       "Repairing copied flag of compressed cluster: l2_entry=50000"},
      {{.kind = FindingKind::kSnapshotsUnreadable, .index = 1, .value = 2, .cause = reason(EINVAL)},
       "ERROR snapshot table entry 1 cannot be read: why not\nIt is kept, and the 2 snapshots from "
       "it on; byre check -r all --drop-unreadable removes them"},
      {{.kind = FindingKind::kSnapshotExtraDataSize, .index = 1, .is_repaired = true},
       "Repairing the size of the extra data in snapshot table entry 1"},
      {{.kind = FindingKind::kBitmapUnreadable, .index = 1, .name = "b", .cause = reason(EINVAL)},
       "ERROR bitmap 'b' cannot be used: why not"},
      {{.kind = FindingKind::kBitmapUnreadable, .index = 1, .cause = reason(EINVAL)},
       "ERROR bitmap directory entry 1 cannot be used: why not"},
      {{.kind = FindingKind::kBitmapCountWrong, .value = 2, .bound = 3},
       "ERROR the bitmap directory has 2 entries, the header says 3"},
      {{.kind = FindingKind::kTablesMoved, .severity = Severity::kNote},
       "Moving overlapping tables"},
      {{.kind = FindingKind::kLeaksKept, .severity = Severity::kNote},
       "Leaked clusters are kept: they may belong to what cannot be read"},
      {{.kind = FindingKind::kPastEndKept, .severity = Severity::kNote},
       "References past the end of the file are kept: the file may not be all there; byre check "
       "-r all --drop-unreadable gives them up"},
      {{.kind = FindingKind::kSnapshotsRemoved,
        .index = 1,
        .value = 2,
        .cause = reason(EINVAL),
        .is_repaired = true},
       "Removing the 2 snapshots from snapshot table entry 1 on: why not"},
      {{.kind = FindingKind::kSnapshotRemoved,
        .id = "1",
        .name = "s",
        .cause = reason(EINVAL),
        .is_repaired = true},
       "Removing snapshot 1 (s): why not"},
      {{.kind = FindingKind::kBitmapRemoved, .severity = Severity::kNote, .name = "b"},
       "Removing bitmap 'b'"},
      {{.kind = FindingKind::kNoRoom, .severity = Severity::kNote, .cause = reason(ENOSPC)},
       "No space for new tables: why not"},
      {{.kind = FindingKind::kNoRoomPastEnd, .severity = Severity::kNote, .cause = reason(ENOSPC)},
       "No space for new tables: why not; the file is not extended while tables that its header "
       "names are past its end"},
  };
  return all;
}

TEST(QemuTextsOfFindings, AreThoseOfQemu) {
  for (const FindingCase& each : cases_of_qemu()) {
    EXPECT_EQ(qemu_text(each.finding, "byre"), each.text + "\n");
  }
}

TEST(QemuTextsOfFindings, WhereQemuHasNoneAreOurs) {
  for (const FindingCase& each : own_cases()) {
    EXPECT_EQ(qemu_text(each.finding, "byre"), each.text + "\n");
  }
}

TEST(QemuTextsOfFindings, EachRowIsTested) {
  std::set<std::string_view> tested;
  for (const FindingCase& each : cases_of_qemu())
    tested.insert(problem_of(each.finding).data().code);
  for (const QemuText& row : qemu_texts_of_findings()) {
    EXPECT_TRUE(tested.contains(row.code)) << row.code;
  }
}

TEST(QemuTextsOfFindings, ABitmapTableEntryIsOnlyCounted) {
  EXPECT_EQ(qemu_text(Finding{.kind = FindingKind::kBitmapTable}, "byre"), "");
}

// Repairs when an image is opened print warnings.
TEST(QemuTextsOfFindings, AreTheSameInWarnings) {
  const Finding leak{.kind = FindingKind::kLeakedCluster, .index = 7, .refcount = 1};
  EXPECT_EQ(qemu_text(Warning{WarningKind::kRepaired, problem_of(leak)}),
            "Leaked cluster 7 refcount=1 reference=0\n");
}

}  // namespace
}  // namespace byre::cli
