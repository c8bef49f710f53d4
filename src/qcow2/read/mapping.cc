// SPDX-License-Identifier: Apache-2.0
#include "qcow2/read/mapping.h"

#include <fmt/format.h>

#include <algorithm>

#include "qcow2/layout/l1_entry.h"

namespace byre::qcow2 {

using layout::L1Entry;
using layout::L1Kind;
using layout::L2Entry;
using layout::L2Problem;
using layout::L2Stretch;
using layout::SubclusterKind;

namespace {

RunKind run_kind(SubclusterKind kind) {
  switch (kind) {
    case SubclusterKind::kUnallocatedPlain:
    case SubclusterKind::kUnallocatedAllocated:
      return RunKind::kUnallocated;
    case SubclusterKind::kZeroPlain:
      return RunKind::kZeroPlain;
    case SubclusterKind::kZeroAllocated:
      return RunKind::kZeroAllocated;
    case SubclusterKind::kNormal:
      return RunKind::kData;
    case SubclusterKind::kCompressed:
      return RunKind::kCompressed;
    case SubclusterKind::kInvalid:
      break;
  }
  return RunKind::kInvalid;
}

// Whether `next`, which begins where `run` ends, extends it.
bool continues(const GuestRun& run, const GuestRun& next) {
  if (next.kind != run.kind || run.kind == RunKind::kCompressed) return false;
  if (run.has_host_offset != next.has_host_offset) return false;
  return !run.has_host_offset || next.host_offset == run.host_offset + run.length;
}

// Problems of one subcluster that make its whole entry unreadable, as in QEMU.
bool has_bad_subcluster(L2Problem problem) {
  return problem == L2Problem::kAllocatedWithoutOffset || problem == L2Problem::kAllocatedAndZero;
}

}  // namespace

uint32_t Mapping::entries_per_slice() const {
  const uint32_t entry_bits = context_->geometry.extended_l2() ? 4 : 3;
  return l2_cache_->slice_size() >> entry_bits;
}

uint64_t Mapping::bytes_per_slice() const {
  return uint64_t{entries_per_slice()} << context_->geometry.cluster_bits();
}

uint64_t Mapping::bytes_per_l2_table() const {
  return context_->geometry.l2_coverage();
}

HostOffset Mapping::l2_slice_offset(HostOffset l2_table_offset, GuestOffset guest_offset) const {
  const uint32_t slice_size = l2_cache_->slice_size();
  const uint64_t entry_offset =
      uint64_t{context_->geometry.l2_index(guest_offset)} * context_->geometry.l2_entry_size();
  return l2_table_offset + align_down(entry_offset, slice_size);
}

uint32_t Mapping::l2_slice_index(GuestOffset guest_offset) const {
  return context_->geometry.l2_index(guest_offset) & (entries_per_slice() - 1);
}

HostOffset Mapping::l2_table_of(GuestOffset guest_offset, Lookup lookup) {
  const uint64_t index = context_->geometry.l1_index(guest_offset);
  const L1Entry entry(l1_->entry(index));
  switch (entry.kind(context_->geometry)) {
    case L1Kind::kUnallocated:
      return HostOffset();
    case L1Kind::kTable:
      return entry.offset();
    case L1Kind::kInvalid:
      break;
  }
  throw unaligned_table(entry, index, lookup);
}

Error Mapping::unaligned_table(const L1Entry& entry, uint64_t l1_index, Lookup lookup) {
  const uint64_t offset = entry.offset().value();
  return corruption({.code = "qcow2-l2-table-unaligned", .value = offset, .index = l1_index},
                    fmt::format("L1 entry {} has the L2 table offset {:#x}, not a multiple of the "
                                "cluster size {}",
                                l1_index, offset, context_->geometry.cluster_size()),
                    lookup);
}

std::optional<GuestRun> Mapping::find_run(GuestOffset guest_offset, uint64_t length,
                                          Lookup lookup) {
  const HostOffset table = l2_table_of(guest_offset, lookup);
  if (table.is_zero()) return run_without_l2_table(guest_offset, length);
  const TableCache::Slice slice = l2_cache_->find(l2_slice_offset(table, guest_offset).value());
  if (!slice) return std::nullopt;
  return run_in_slice(slice, guest_offset, length, lookup);
}

Task<GuestRun> Mapping::run_at(GuestOffset guest_offset, uint64_t length, Lookup lookup) {
  const TableCache::Slice slice = co_await l2_slice(guest_offset, lookup, length);
  if (!slice) co_return run_without_l2_table(guest_offset, length);
  co_return run_in_slice(slice, guest_offset, length, lookup);
}

Task<TableCache::Slice> Mapping::l2_slice(GuestOffset guest_offset, Lookup lookup,
                                          uint64_t length) {
  const HostOffset table = l2_table_of(guest_offset, lookup);
  if (table.is_zero()) co_return TableCache::Slice();
  const uint64_t place = l2_slice_offset(table, guest_offset).value();
  const uint64_t in_slice = guest_offset.value() & (bytes_per_slice() - 1);
  const uint64_t slices = div_ceil(in_slice + length, bytes_per_slice());
  const uint64_t rest_of_table = table.value() + context_->geometry.cluster_size() - place;
  const uint64_t slice_size = l2_cache_->slice_size();
  co_return co_await l2_cache_->get(place, std::min(slices * slice_size, rest_of_table));
}

TableCache::Slice Mapping::find_l2_slice(GuestOffset guest_offset) {
  const HostOffset table = l2_table_of(guest_offset, Lookup::kNow);
  if (table.is_zero()) return {};
  return l2_cache_->find(l2_slice_offset(table, guest_offset).value());
}

GuestRun Mapping::run_without_l2_table(GuestOffset guest_offset, uint64_t length) const {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t first = geometry.l1_index(guest_offset);
  const uint64_t last = geometry.l1_index(guest_offset + (length - 1));
  // Entries with only reserved bits set end the run here; the next lookup handles them.
  const uint64_t end = l1_->next_used(first + 1, last + 1);
  const uint64_t bytes = geometry.guest_offset(end, 0) - guest_offset;
  return {.kind = RunKind::kUnallocated,
          .guest_offset = guest_offset,
          .length = std::min(length, bytes)};
}

GuestRun Mapping::run_in_slice(const TableCache::Slice& slice, GuestOffset guest_offset,
                               uint64_t length, Lookup lookup) {
  const layout::Geometry& geometry = context_->geometry;
  const uint32_t entries = entries_per_slice();
  uint32_t index = l2_slice_index(guest_offset);
  const uint64_t in_cluster = geometry.offset_in_cluster(guest_offset);
  const auto count_max = static_cast<uint32_t>(
      std::min<uint64_t>(entries, geometry.clusters_for(in_cluster + length)));
  L2Stretch stretch = slice.l2_stretch(index, count_max);
  GuestRun run = run_in_entry(stretch.first, guest_offset);
  if (run.kind == RunKind::kInvalid) throw invalid_entry(stretch.first, guest_offset, lookup);
  // Adjacent runs of one entry always differ, so the run can only continue at the start of an
  // entry.
  while (true) {
    const uint32_t followers = followers_in_run(stretch, run);
    run.length += uint64_t{followers} << geometry.cluster_bits();
    index += 1 + followers;
    if (run.length >= length || geometry.offset_in_cluster(guest_offset + run.length) != 0 ||
        index >= entries) {
      break;
    }
    stretch = slice.l2_stretch(index, count_max);
    const GuestRun next = run_in_entry(stretch.first, guest_offset + run.length);
    // QEMU checks the subclusters after a run before it knows the run's end.
    if (next.kind == RunKind::kInvalid && run.kind != RunKind::kCompressed &&
        has_bad_subcluster(stretch.first.problem(geometry))) {
      throw invalid_entry(stretch.first, guest_offset + run.length, lookup);
    }
    if (!continues(run, next)) break;
    run.length += next.length;
  }
  run.length = std::min(run.length, length);
  return run;
}

// The number of entries of a stretch, after its first one with which `run` ends, that extend the
// run.
uint32_t Mapping::followers_in_run(const L2Stretch& stretch, const GuestRun& run) const {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t bitmap = stretch.first.bitmap();
  // If the subclusters of an entry are in different states, following entries do not extend the run
  // as a whole.
  if (bitmap != 0 && bitmap != L2Entry::kAllAllocated && bitmap != L2Entry::kAllZero) return 0;
  if (run.kind == RunKind::kCompressed) return 0;
  if (stretch.step != (run.has_host_offset ? geometry.cluster_size() : 0)) return 0;
  // Adding beyond the last bit of the offset would change another flag.
  const uint64_t room = L2Entry::kOffsetMask - stretch.first.offset().value();
  const uint64_t clusters = room >> geometry.cluster_bits();
  return static_cast<uint32_t>(std::min<uint64_t>(stretch.count - 1, clusters));
}

// The run that begins at guest_offset and ends with its cluster at the latest.
GuestRun Mapping::run_in_entry(const L2Entry& entry, GuestOffset guest_offset) const {
  const layout::Geometry& geometry = context_->geometry;
  const uint64_t in_cluster = geometry.offset_in_cluster(guest_offset);
  const L2Problem problem = entry.problem(geometry);
  GuestRun run{.kind = RunKind::kInvalid, .guest_offset = guest_offset};
  run.length = geometry.cluster_size() - in_cluster;
  if (has_bad_subcluster(problem)) return run;
  if (entry.is_compressed()) {
    // An offset beyond any file is still a compressed cluster; reading it fails.
    if (problem != L2Problem::kNone && problem != L2Problem::kCompressedOffset) return run;
    const layout::CompressedRange range = entry.compressed_range(geometry);
    run.kind = RunKind::kCompressed;
    run.host_offset = range.offset;
    run.compressed_size = range.size;
    return run;
  }
  const uint32_t index = geometry.subcluster_index(guest_offset);
  const layout::SubclusterRun subclusters = entry.run(index, geometry);
  const uint64_t end = uint64_t{index + subclusters.count} << geometry.subcluster_bits();
  run.length = end - in_cluster;
  run.kind = run_kind(subclusters.kind);
  run.has_host_offset = subclusters.kind == SubclusterKind::kNormal ||
                        subclusters.kind == SubclusterKind::kZeroAllocated ||
                        subclusters.kind == SubclusterKind::kUnallocatedAllocated;
  if (!run.has_host_offset) return run;
  run.host_offset = entry.offset() + in_cluster;
  // Specification: with an external data file the offset must match the guest offset.
  if (geometry.external_data_file() && run.host_offset.value() != guest_offset.value()) {
    run.kind = RunKind::kInvalid;
  }
  return run;
}

Error Mapping::corruption(ErrorData finding, std::string sentence, Lookup lookup) {
  return lookup == Lookup::kNow
             ? context_->health.report_corruption(std::move(finding), std::move(sentence))
             : context_->health.unreadable(std::move(finding), std::move(sentence));
}

Error Mapping::invalid_entry(const L2Entry& entry, GuestOffset guest_offset, Lookup lookup) {
  const layout::Geometry& geometry = context_->geometry;
  const L1Entry l1_entry(l1_->entry(geometry.l1_index(guest_offset)));
  const uint64_t index = geometry.l2_index(guest_offset);
  const uint64_t table = l1_entry.offset().value();
  const uint64_t host_offset = entry.offset().value();
  const std::string which = fmt::format("L2 entry {} of the L2 table at {:#x}", index, table);
  ErrorData finding{.value = entry.word(), .index = index, .offset = table};
  switch (entry.problem(geometry)) {
    case L2Problem::kUnaligned:
      finding.code = "qcow2-cluster-unaligned";
      finding.value = host_offset;
      return corruption(std::move(finding),
                        fmt::format("{} has the host offset {:#x}, not a multiple of the cluster "
                                    "size {}",
                                    which, host_offset, geometry.cluster_size()),
                        lookup);
    case L2Problem::kZeroFlagInVersion2:
      finding.code = "qcow2-zero-flag-in-version-2";
      return corruption(std::move(finding),
                        fmt::format("{} is {:#x}, which reads as zeroes; version 2 has no such "
                                    "entries",
                                    which, entry.word()),
                        lookup);
    case L2Problem::kCompressedInDataFile:
      finding.code = "qcow2-compressed-entry-with-data-file";
      return corruption(std::move(finding),
                        fmt::format("{} is {:#x}, a compressed cluster; an image with an external "
                                    "data file has none",
                                    which, entry.word()),
                        lookup);
    case L2Problem::kNone: {
      const uint64_t cluster = geometry.cluster_start(guest_offset).value();
      finding.code = "qcow2-data-file-offset-wrong";
      finding.value = host_offset;
      finding.bound = cluster;
      return corruption(std::move(finding),
                        fmt::format("{} has the offset {:#x} in the external data file, which must "
                                    "be the guest offset {:#x}",
                                    which, host_offset, cluster),
                        lookup);
    }
    case L2Problem::kAllocatedWithoutOffset:
    case L2Problem::kAllocatedAndZero:
    case L2Problem::kCompressedOffset:
      break;
  }
  finding.code = "qcow2-l2-entry-invalid";
  return corruption(std::move(finding),
                    fmt::format("{} is {:#x} with the subcluster bitmap {:#x}, which contradict "
                                "each other",
                                which, entry.word(), entry.bitmap()),
                    lookup);
}

}  // namespace byre::qcow2
