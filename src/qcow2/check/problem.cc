// SPDX-License-Identifier: Apache-2.0
// Findings in words.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "qcow2/check/check.h"

namespace byre::qcow2 {
namespace {

constexpr char kSnapshotAdvice[] =
    "\ncheck -r all repairs the table where its entries show how; byre check -r all "
    "--drop-unreadable removes the snapshots that cannot be read";

// What findings of a kind say. Fields of the finding stand in braces. Without a code: the sentence is
// put before the cause.
struct Sentence {
  FindingKind kind;
  Literal code;
  std::string_view pattern;
};

constexpr Sentence kSentences[] = {
    {FindingKind::kLeakedCluster, "qcow2-cluster-leaked",
     "cluster {index} is leaked: its refcount is {refcount}, it has {references} references"},
    {FindingKind::kRefcountTooLow, "qcow2-refcount-lower-than-references",
     "cluster {index} may be allocated again: its refcount is {refcount}, it has {references} "
     "references"},
    {FindingKind::kRefcountUnreadable, "qcow2-refcount-unreadable",
     "the refcount of cluster {index} cannot be read"},
    {FindingKind::kRefcountOverflow, "qcow2-references-too-many",
     "the cluster at {offset:#x} has more references than a refcount of this image can count; "
     "amend can widen them"},
    {FindingKind::kReferenceOutsideFile, "qcow2-reference-past-end",
     "{value} bytes at {offset:#x} are referred to, but are past the end of the file"},
    {FindingKind::kReferenceRemoved, "qcow2-reference-removed",
     "Repairing reference beyond the end of the file: entry={value:x}"},
    {FindingKind::kL1ReservedBits, "qcow2-l1-entry-reserved-bits",
     "L1 entry {value:#x} has reserved bits set"},
    {FindingKind::kL2TableUnaligned, "qcow2-l1-entry-unaligned",
     "an L1 entry has offset {offset:#x}, which is not cluster aligned"},
    {FindingKind::kL2ReservedBits, "qcow2-l2-entry-reserved-bits",
     "L2 entry {value:#x} has reserved bits set"},
    {FindingKind::kClusterUnaligned, "qcow2-l2-entry-unaligned",
     "an L2 entry has offset {offset:#x}, which is not cluster aligned"},
    {FindingKind::kZeroClusterUnaligned, "qcow2-l2-entry-of-zeroes-unaligned",
     "an L2 entry that reads as zeroes has offset {offset:#x}, which is not cluster aligned"},
    {FindingKind::kCompressedCopied, "qcow2-compressed-entry-copied",
     "L2 entry {value:#x} of a compressed cluster has the copied flag"},
    {FindingKind::kCompressedInDataFile, "qcow2-compressed-entry-in-data-file",
     "L2 entry {index}, {value:#x}, of an image with an external data file is compressed"},
    {FindingKind::kCompressedSubclusters, "qcow2-compressed-entry-with-subclusters",
     "L2 entry {index}, {value:#x}, is compressed, and has subclusters"},
    {FindingKind::kSubclusterContradiction, "qcow2-subclusters-contradictory",
     "a subcluster of the cluster at {offset:#x} has data, and reads as zeroes"},
    {FindingKind::kSubclustersUnallocated, "qcow2-subclusters-without-cluster",
     "subclusters have data, but no cluster is allocated for them"},
    {FindingKind::kCopiedFlagL2Table, "qcow2-l1-entry-copied-flag-wrong",
     "the copied flag of L1 entry {index}, {value:#x}, is wrong: the refcount is {refcount}"},
    {FindingKind::kCopiedFlagCluster, "qcow2-l2-entry-copied-flag-wrong",
     "the copied flag of L2 entry {value:#x} is wrong: the refcount is {refcount}"},
    {FindingKind::kL1TableUnreadable, "qcow2-l1-table-not-checked", "an L1 table cannot be read"},
    {FindingKind::kL2TableUnreadable, "qcow2-l2-table-not-checked", "an L2 table cannot be read"},
    {FindingKind::kCopiedFlagsUnreadable, {}, "the L2 table at {offset:#x} cannot be read again"},
    {FindingKind::kSnapshotTableRefused, {}, "the snapshot table cannot be found"},
    {FindingKind::kSnapshotTableUnreadable, {}, "the snapshot table cannot be read"},
    {FindingKind::kSnapshotsUnreadable, {}, "snapshot table entry {index} cannot be read"},
    {FindingKind::kSnapshotIncomplete, "qcow2-snapshot-entry-incomplete",
     "snapshot table entry {index} has no disk size"},
    {FindingKind::kSnapshotExtraDataCut, "qcow2-snapshot-extra-data-discarded",
     "{value} bytes of extra data of snapshot table entry {index} are too many: at most {bound}"},
    {FindingKind::kSnapshotExtraDataSize, "qcow2-snapshot-extra-data-size-repaired",
     "Repairing the size of the extra data in snapshot table entry {index}"},
    {FindingKind::kSnapshotL1Unaligned, "qcow2-snapshot-l1-table-unaligned",
     "the L1 table of snapshot {id} ({name}) is at {offset:#x}, which is not cluster aligned"},
    {FindingKind::kSnapshotL1TooLarge, "qcow2-snapshot-l1-entries-too-many",
     "the L1 table of snapshot {id} ({name}) has {value} entries"},
    {FindingKind::kSnapshotsWithDataFile, "qcow2-snapshots-with-data-file",
     "an image with an external data file has {value} snapshots"},
    {FindingKind::kBitmapTable, "qcow2-bitmap-table-entry-refused",
     "the bitmap table entry at {offset:#x} is {value:#x}"},
    {FindingKind::kBitmapUnreadable, {}, "bitmap {which} cannot be used"},
    {FindingKind::kBitmapCountWrong, "qcow2-bitmap-count-wrong",
     "the bitmap directory has {value} entries, the header says {bound}"},
    {FindingKind::kRefcountTableReservedBits, "qcow2-refcount-table-entry-reserved-bits",
     "refcount table entry {index} has reserved bits set"},
    {FindingKind::kRefcountBlockUnaligned, "qcow2-refcount-table-entry-unaligned",
     "refcount table entry {index} is {offset:#x}, which is not cluster aligned"},
    {FindingKind::kRefcountBlockNotRead, "qcow2-refcount-block-unaligned",
     "refcount block {index} is not read: its offset is {offset:#x}"},
    {FindingKind::kRefcountBlockOutside, "qcow2-refcount-block-outside",
     "refcount block {index} at {offset:#x} is past the end of the file"},
    {FindingKind::kRefcountBlockShared, "qcow2-refcount-block-shared",
     "refcount block {index} has {references} references"},
    {FindingKind::kRefcountsRebuilt, "qcow2-refcounts-rebuilt", "Rebuilding refcount structure"},
    {FindingKind::kRebuildNeeded, "qcow2-refcounts-not-rebuilt",
     "the refcounts must be rebuilt at a new offset"},
    {FindingKind::kTablesMoved, "qcow2-tables-moved", "Moving overlapping tables"},
    {FindingKind::kLeaksKept, "qcow2-leaks-kept",
     "Leaked clusters are kept: they may belong to what cannot be read"},
    {FindingKind::kPastEndKept, "qcow2-references-past-end-kept",
     "References past the end of the file are kept: the file may not be all there; byre check -r "
     "all --drop-unreadable gives them up"},
    {FindingKind::kSnapshotsRemoved,
     {},
     "Removing the {value} snapshots from snapshot table entry {index} on"},
    {FindingKind::kSnapshotRemoved, {}, "Removing snapshot {id} ({name})"},
    {FindingKind::kBitmapRemoved, "qcow2-bitmap-removed", "Removing bitmap {which}"},
    {FindingKind::kNoRoom, {}, "No space for new tables"},
    {FindingKind::kNoRoomPastEnd, {}, "No space for new tables"},
};

// What repair() says of what it has repaired itself.
constexpr Sentence kRepaired[] = {
    {FindingKind::kLeakedCluster, "qcow2-refcount-repaired",
     "Repairing cluster {index}: its refcount was {refcount}, it has {references} references"},
    {FindingKind::kRefcountTooLow, "qcow2-refcount-repaired",
     "Repairing cluster {index}: its refcount was {refcount}, it has {references} references"},
    {FindingKind::kClusterUnaligned, "qcow2-l2-entry-alignment-repaired",
     "Repairing an L2 entry with offset {offset:#x}, which is not cluster aligned"},
    {FindingKind::kZeroClusterUnaligned, "qcow2-l2-entry-of-zeroes-alignment-repaired",
     "Repairing an L2 entry that reads as zeroes with offset {offset:#x}, which is not cluster "
     "aligned"},
    {FindingKind::kCompressedCopied, "qcow2-compressed-entry-repaired",
     "Repairing copied flag of compressed cluster: l2_entry={value:x}"},
    {FindingKind::kCopiedFlagL2Table, "qcow2-l1-entry-copied-flag-repaired",
     "Repairing the copied flag of L1 entry {index}, {value:#x}: the refcount is {refcount}"},
    {FindingKind::kCopiedFlagCluster, "qcow2-l2-entry-copied-flag-repaired",
     "Repairing the copied flag of L2 entry {value:#x}: the refcount is {refcount}"},
    {FindingKind::kSnapshotIncomplete, "qcow2-snapshot-entry-completed",
     "Repairing snapshot table entry {index}, which has no disk size"},
};

const Sentence& sentence_of(const Finding& finding) {
  if (finding.is_repaired) {
    const Sentence* const repaired = std::ranges::find(kRepaired, finding.kind, &Sentence::kind);
    if (repaired != std::end(kRepaired)) return *repaired;
  }
  return *std::ranges::find(kSentences, finding.kind, &Sentence::kind);
}

std::string fill(std::string_view pattern, const Finding& finding) {
  const std::string which = finding.name.empty() ? fmt::format("directory entry {}", finding.index)
                                                 : fmt::format("'{}'", finding.name);
  // They end at a NUL, as in QEMU.
  const char* const id = finding.id.c_str();
  const char* const name = finding.name.c_str();
  return fmt::format(fmt::runtime(pattern), fmt::arg("offset", finding.offset),
                     fmt::arg("index", finding.index), fmt::arg("value", finding.value),
                     fmt::arg("bound", finding.bound), fmt::arg("refcount", finding.refcount),
                     fmt::arg("references", finding.references), fmt::arg("id", id),
                     fmt::arg("name", name), fmt::arg("which", which));
}

// What follows the cause.
std::string advice_for(const Finding& finding) {
  switch (finding.kind) {
    case FindingKind::kSnapshotTableRefused:
    case FindingKind::kSnapshotTableUnreadable:
      return kSnapshotAdvice;
    case FindingKind::kSnapshotsUnreadable:
      return fmt::format(
          "\nIt is kept, and the {} snapshots from it on; byre check -r all --drop-unreadable "
          "removes them",
          finding.value);
    case FindingKind::kNoRoomPastEnd:
      return "; the file is not extended while tables that its header names are past its end";
    default:
      return std::string();
  }
}

}  // namespace

ErrorData data_of(const Finding& finding) {
  ErrorData data;
  data.code = sentence_of(finding).code;
  data.offset = finding.offset;
  data.index = finding.index;
  data.value = finding.value;
  data.bound = finding.bound;
  data.name = finding.name;
  data.text = finding.id;
  switch (finding.kind) {
    case FindingKind::kLeakedCluster:
    case FindingKind::kRefcountTooLow:
      data.value = finding.refcount;
      data.bound = finding.references;
      break;
    case FindingKind::kCopiedFlagL2Table:
    case FindingKind::kCopiedFlagCluster:
      data.bound = finding.refcount;
      break;
    case FindingKind::kRefcountBlockShared:
      data.value = finding.references;
      break;
    case FindingKind::kRefcountBlockNotRead:
      data.value = finding.offset;
      break;
    default:
      break;
  }
  return data;
}

Error problem_of(const Finding& finding) {
  const Sentence& sentence = sentence_of(finding);
  const std::string text = fill(sentence.pattern, finding);
  if (finding.cause) return finding.cause->with_prefix(text).with_suffix(advice_for(finding));
  ErrorData data = data_of(finding);
  return Error(ErrorKind::kCorrupt, EIO, std::move(data), text);
}

}  // namespace byre::qcow2
