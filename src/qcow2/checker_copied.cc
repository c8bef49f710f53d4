// SPDX-License-Identifier: Apache-2.0
#include "qcow2/checker_copied.h"

#include <fmt/format.h>

#include <algorithm>

#include "qcow2/checker_l2.h"

namespace byre::qcow2 {

CopiedFlagChecker::CopiedFlagChecker(CheckerFile* file, ReferenceCounter* references,
                                     StoredRefcounts* refcounts, const CheckOptions* options)
    : geometry_(references->geometry()),
      file_(file),
      l2_file_(&file->device()),
      references_(references),
      refcounts_(refcounts),
      options_(options) {}

Task<void> CopiedFlagChecker::check(uint64_t l1_offset, uint64_t l1_entries) {
  const uint64_t end = l1_offset + file_->stored(l1_offset, l1_entries * 8);
  for (uint64_t place = l1_offset; place < end; place += geometry_.cluster_size()) {
    const uint64_t length = std::min(geometry_.cluster_size(), end - place);
    const bool is_hole = co_await file_->is_hole(place, length);
    if (is_hole) continue;
    const ConstBytes table = co_await file_->read(place, length, end - place - length);
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
      const layout::L1Entry entry(load_big_endian<uint64_t>(&table[i]));
      if (entry.offset().is_zero()) continue;
      if (options_->cancellation != nullptr) options_->cancellation->check();
      co_await check_l1_entry(entry, (place - l1_offset + i) / 8);
    }
  }
}

Task<void> CopiedFlagChecker::check_l1_entry(layout::L1Entry entry, uint64_t index) {
  const std::optional<uint64_t> refcount =
      co_await refcounts_->read(geometry_.cluster_of(entry.offset()).value());
  if (!refcount) co_return;  // compare() has said so
  if ((*refcount == 1) != entry.copied()) {
    references_->findings().add({.kind = FindingKind::kCopiedFlagL2Table,
                                 .offset = entry.offset().value(),
                                 .value = entry.word(),
                                 .refcount = *refcount},
                                [&] {
                                  return fmt::format(
                                      "ERROR OFLAG_COPIED L2 cluster: l1_index={} l1_entry={:x} "
                                      "refcount={}",
                                      index, entry.word(), *refcount);
                                });
  }
  const uint64_t offset = entry.offset().value();
  const bool is_hole = co_await l2_file_.is_hole(offset, geometry_.cluster_size());
  if (is_hole) co_return;
  if (!references_->is_shared(offset)) {
    co_await check_l2_table(offset);
    co_return;
  }
  SharedTable& shared = shared_l2_[offset];
  if (shared.is_known(false)) {
    references_->findings().count(Severity::kCorruption, shared.corruptions);
    co_return;
  }
  const uint64_t corruptions = references_->findings().corruptions();
  co_await check_l2_table(offset);
  ++shared.reads;
  shared.corruptions = references_->findings().corruptions() - corruptions;
}

Task<ConstBytes> CopiedFlagChecker::read_l2(uint64_t offset) {
  try {
    co_return co_await l2_file_.read(offset, geometry_.cluster_size(), 0);
  } catch (const Error& error) {
    references_->findings().add(
        {.kind = FindingKind::kTableUnreadable,
         .severity = Severity::kCheckError,
         .offset = offset},
        [&] { return "ERROR: Could not read L2 table: " + errno_text(error.errno_value()); });
    throw;
  }
}

Task<void> CopiedFlagChecker::check_l2_table(uint64_t offset) {
  const ConstBytes table = co_await read_l2(offset);
  const L2EntryCounter kinds(references_, true);
  for (uint32_t i = 0; i < geometry_.l2_entries(); ++i) {
    const layout::L2Entry entry = layout::L2Entry::load(table, i, geometry_);
    if (entry.is_compressed() || !kinds.refers_to_cluster(entry)) continue;
    if (geometry_.external_data_file()) {
      check_l2_entry(entry, 1);
      continue;
    }
    const uint64_t cluster = geometry_.cluster_of(entry.offset()).value();
    const StoredRefcounts::Lookup found = refcounts_->find(cluster);
    std::optional<uint64_t> refcount = found.refcount;
    if (!found.is_known) refcount = co_await refcounts_->read(cluster);
    if (refcount) check_l2_entry(entry, *refcount);
  }
}

void CopiedFlagChecker::check_l2_entry(const layout::L2Entry& entry, uint64_t refcount) {
  if ((refcount == 1) == entry.copied()) return;
  references_->findings().add({.kind = FindingKind::kCopiedFlagCluster,
                               .offset = entry.offset().value(),
                               .value = entry.word(),
                               .refcount = refcount},
                              [&] {
                                return fmt::format(
                                    "ERROR OFLAG_COPIED data cluster: l2_entry={:x} refcount={}",
                                    entry.word(), refcount);
                              });
}

}  // namespace byre::qcow2
