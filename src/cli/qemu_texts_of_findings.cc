// SPDX-License-Identifier: Apache-2.0
// What a check finds.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "cli/qemu_text.h"
#include "jobs/check.h"

namespace byre::cli {
namespace {

using jobs::Finding;
using jobs::FindingKind;
using jobs::Severity;

constexpr QemuText kTexts[] = {
    {"qcow2-cluster-leaked", "Leaked cluster {index} refcount={value} reference={bound}"},
    {"qcow2-refcount-lower-than-references",
     "ERROR cluster {index} refcount={value} reference={bound}"},
    {"qcow2-refcount-repaired", "Repairing cluster {index} refcount={value} reference={bound}"},
    {"qcow2-refcount-unreadable", "Can't get refcount for cluster {index}: Input/output error"},
    {"qcow2-references-too-many",
     "ERROR: overflow cluster offset={offset:#x}\nUse qemu-img amend to increase the refcount "
     "entry "
     "width or qemu-img convert to create a clean copy if the image cannot be opened for writing"},
    {"qcow2-reference-past-end",
     "ERROR: counting reference for region exceeding the end of the file by one cluster or more: "
     "offset {offset:#x} size {value:#x}"},
    {"qcow2-l1-entry-reserved-bits", "ERROR found L1 entry with reserved bits set: {value:x}"},
    {"qcow2-l1-entry-unaligned",
     "ERROR l2_offset={offset:x}: Table is not cluster aligned; L1 entry corrupted"},
    {"qcow2-l2-entry-reserved-bits", "ERROR found l2 entry with reserved bits set: {value:x}"},
    {"qcow2-l2-entry-unaligned",
     "ERROR offset={offset:x}: Data cluster is not properly aligned; L2 entry corrupted."},
    {"qcow2-l2-entry-of-zeroes-unaligned",
     "ERROR offset={offset:x}: Preallocated cluster is not properly aligned; L2 entry corrupted."},
    {"qcow2-l2-entry-alignment-repaired",
     "Repairing offset={offset:x}: Data cluster is not properly aligned; L2 entry corrupted."},
    {"qcow2-l2-entry-of-zeroes-alignment-repaired",
     "Repairing offset={offset:x}: Preallocated cluster is not properly aligned; L2 entry "
     "corrupted."},
    {"qcow2-compressed-entry-copied",
     "ERROR: coffset={offset:#x}: copied flag must never be set for compressed clusters"},
    {"qcow2-compressed-entry-in-data-file",
     "ERROR compressed cluster {index} with data file, entry={value:#x}"},
    {"qcow2-compressed-entry-with-subclusters",
     "ERROR compressed cluster {index} with non-zero subcluster allocation bitmap, "
     "entry={value:#x}"},
    {"qcow2-subclusters-contradictory",
     "ERROR offset={offset:x}: Allocated cluster has corrupted subcluster allocation bitmap"},
    {"qcow2-subclusters-without-cluster",
     "ERROR: Unallocated cluster has non-zero subcluster allocation map"},
    {"qcow2-l1-entry-copied-flag-wrong",
     "ERROR OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={value:x} refcount={bound}"},
    {"qcow2-l1-entry-copied-flag-repaired",
     "Repairing OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={value:x} refcount={bound}"},
    {"qcow2-l2-entry-copied-flag-wrong",
     "ERROR OFLAG_COPIED data cluster: l2_entry={value:x} refcount={bound}"},
    {"qcow2-l2-entry-copied-flag-repaired",
     "Repairing OFLAG_COPIED data cluster: l2_entry={value:x} refcount={bound}"},
    {"qcow2-l1-table-not-checked", "ERROR: I/O error in check_refcounts_l1"},
    {"qcow2-l2-table-not-checked", "ERROR: I/O error in check_refcounts_l2"},
    {"qcow2-snapshot-entry-incomplete", "ERROR snapshot table entry {index} is incomplete"},
    {"qcow2-snapshot-entry-completed", "Repairing snapshot table entry {index} is incomplete"},
    {"qcow2-snapshot-extra-data-discarded",
     "Discarding too much extra metadata in snapshot table entry {index} ({value} > {bound})"},
    {"qcow2-snapshot-l1-table-unaligned",
     "ERROR snapshot {text} ({name}) l1_offset={offset:#x}: L1 table is not cluster aligned; "
     "snapshot table entry corrupted"},
    {"qcow2-snapshot-l1-entries-too-many",
     "ERROR snapshot {text} ({name}) l1_size={value:#x}: L1 table is too large; snapshot table "
     "entry corrupted"},
    {"qcow2-snapshots-with-data-file", "ERROR {value} snapshots in image with data file"},
    {"qcow2-refcount-table-entry-reserved-bits",
     "ERROR refcount table entry {index} has reserved bits set"},
    {"qcow2-refcount-table-entry-unaligned",
     "ERROR refcount block {index} is not cluster aligned; refcount table entry corrupted"},
    {"qcow2-refcount-block-outside", "ERROR refcount block {index} is outside image"},
    {"qcow2-refcount-block-shared", "ERROR refcount block {index} refcount={value}"},
    {"qcow2-refcounts-not-rebuilt", "ERROR need to rebuild refcount structures"},
};

// Whether QEMU prints the program's name before it.
bool names_program(FindingKind kind) {
  return kind == FindingKind::kSnapshotTableRefused ||
         kind == FindingKind::kSnapshotTableUnreadable;
}

// Where QEMU quotes an error, or prints what it prints in another place.
std::optional<std::string> special_text(const Finding& finding) {
  switch (finding.kind) {
    case FindingKind::kSnapshotTableRefused:
      return finding.cause->errno_value() == EFBIG
                 ? "ERROR snapshot table too large" + problem_of(finding).suffix()
                 : "ERROR snapshot table offset invalid";
    case FindingKind::kSnapshotTableUnreadable:
      return "ERROR failed to read the snapshot table: " + qemu_text(*finding.cause) +
             problem_of(finding).suffix();
    case FindingKind::kCopiedFlagsUnreadable:
      return "ERROR: Could not read L2 table: " + errno_text(finding.cause->errno_value());
    case FindingKind::kRefcountBlockNotRead: {
      std::string line = qemu_text(Warning{WarningKind::kCorrupt, problem_of(finding)});
      line.pop_back();
      return line;
    }
    default:
      return std::nullopt;
  }
}

std::string own_text(const Finding& finding) {
  const bool is_error = finding.severity != Severity::kNote && !finding.is_repaired;
  return (is_error ? "ERROR " : "") + qemu_text(problem_of(finding));
}

}  // namespace

std::span<const QemuText> qemu_texts_of_findings() {
  return kTexts;
}

std::optional<std::string> words_of_finding(const ErrorData& data) {
  const auto found = std::ranges::find(kTexts, data.code.view(), &QemuText::code);
  if (found == std::end(kTexts)) return std::nullopt;
  // They end at a NUL.
  const char* const name = data.name.c_str();
  const char* const id = data.text.c_str();
  return fmt::format(
      fmt::runtime(found->pattern), fmt::arg("value", data.value.value_or(0)),
      fmt::arg("bound", data.bound.value_or(0)), fmt::arg("index", data.index.value_or(0)),
      fmt::arg("offset", data.offset.value_or(0)), fmt::arg("name", name), fmt::arg("text", id));
}

std::string qemu_text(const Finding& finding, std::string_view program) {
  // QEMU has no message for it: the bitmap is another finding.
  if (finding.kind == FindingKind::kBitmapTable) return std::string();
  std::optional<std::string> text = special_text(finding);
  if (!text) text = words_of_finding(data_of(finding));
  if (!text) text = own_text(finding);
  *text += '\n';
  if (!names_program(finding.kind)) return *text;
  return fmt::format("{}: {}", program, *text);
}

}  // namespace byre::cli
