// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/copied_flags.h"

#include <algorithm>

#include "qcow2/check/l2_entries.h"

namespace byre::qcow2 {

CopiedFlagChecker::CopiedFlagChecker(CheckerFile* file, ReferenceCounter* references,
                                     StoredRefcounts* refcounts, const CheckOptions* options)
    : geometry_(references->geometry()),
      file_(file),
      l2_file_(&file->device()),
      references_(references),
      refcounts_(refcounts),
      options_(options) {}

void CopiedFlagChecker::repair() {
  repairs_ = true;
  l1_ = Buffer(geometry_.cluster_size());
  l2_ = Buffer(geometry_.cluster_size());
}

Task<void> CopiedFlagChecker::check(uint64_t l1_offset, uint64_t l1_entries) {
  const uint64_t end = l1_offset + file_->stored(l1_offset, l1_entries * 8);
  for (uint64_t place = l1_offset; place < end; place += geometry_.cluster_size()) {
    const uint64_t length = std::min(geometry_.cluster_size(), end - place);
    const bool is_hole = co_await file_->is_hole(place, length);
    if (is_hole) continue;
    co_await check_l1_piece(place, length, (place - l1_offset) / 8, end - place - length);
  }
}

Task<void> CopiedFlagChecker::check_l1_piece(uint64_t offset, uint64_t length, uint64_t first_index,
                                             uint64_t ahead) {
  ConstBytes table = co_await file_->read(offset, length, ahead);
  const bool repairs = repairs_ && references_->is_referred_to_once(offset, length);
  if (repairs) {
    std::ranges::copy(table, l1_.data());
    table = l1_.bytes(0, length);
  }
  ChangedRange changed;
  for (uint64_t i = 0; i + 8 <= length; i += 8) {
    const layout::L1Entry entry(load_big_endian<uint64_t>(&table[i]));
    if (entry.offset().is_zero()) continue;
    if (options_->cancellation != nullptr) options_->cancellation->check();
    const bool is_wrong = co_await check_l1_entry(entry, first_index + i / 8, repairs);
    if (is_wrong && repairs) {
      store_big_endian<uint64_t>(l1_.data() + i, entry.with_copied(!entry.copied()).word());
      changed.add(i, i + 8);
    }
    co_await check_l2_of(entry);
  }
  co_await write(offset, l1_.bytes(), changed);
}

Task<void> CopiedFlagChecker::write(uint64_t offset, ConstBytes table, ChangedRange changed) {
  if (changed.is_empty()) co_return;
  const WriteBuffers from(table.subspan(changed.begin(), changed.size()));
  co_await file_->device().write(offset + changed.begin(), from, WriteFlags::kNone);
  file_->forget();
  l2_file_.forget();
}

Task<bool> CopiedFlagChecker::check_l1_entry(layout::L1Entry entry, uint64_t index, bool repairs) {
  const std::optional<uint64_t> refcount =
      co_await refcounts_->read(geometry_.cluster_of(entry.offset()).value());
  // If it cannot be read, compare() has reported that.
  if (!refcount || (*refcount == 1) == entry.copied()) co_return false;
  references_->findings().add({.kind = FindingKind::kCopiedFlagL2Table,
                               .offset = entry.offset().value(),
                               .index = index,
                               .value = entry.word(),
                               .refcount = *refcount,
                               .is_repaired = repairs});
  co_return true;
}

Task<void> CopiedFlagChecker::check_l2_of(layout::L1Entry entry) {
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
    references_->findings().add({.kind = FindingKind::kCopiedFlagsUnreadable,
                                 .severity = Severity::kCheckError,
                                 .offset = offset,
                                 .cause = error});
    throw;
  }
}

Task<void> CopiedFlagChecker::check_l2_table(uint64_t offset) {
  ConstBytes table = co_await read_l2(offset);
  const bool repairs = repairs_ && references_->is_only_l2_table(offset);
  if (repairs) {
    std::ranges::copy(table, l2_.data());
    table = l2_.bytes();
  }
  ChangedRange changed;
  for (uint32_t i = 0; i < geometry_.l2_entries(); ++i) {
    const layout::L2Entry entry = layout::L2Entry::load(table, i, geometry_);
    if (entry.is_compressed() || !refers_to_cluster(entry, geometry_)) continue;
    // A cluster of a data file counts as referred to once.
    std::optional<uint64_t> refcount = 1;
    if (!geometry_.external_data_file()) {
      const uint64_t cluster = geometry_.cluster_of(entry.offset()).value();
      const StoredRefcounts::Lookup found = refcounts_->find(cluster);
      refcount = found.refcount;
      if (!found.is_known) refcount = co_await refcounts_->read(cluster);
    }
    if (!refcount || !check_l2_entry(entry, *refcount, repairs) || !repairs) continue;
    entry.with_copied(!entry.copied()).store(l2_.bytes(), i, geometry_);
    const uint64_t size = geometry_.l2_entry_size();
    changed.add(i * size, i * size + size);
  }
  co_await write(offset, table, changed);
}

// Returns whether the flag is wrong.
bool CopiedFlagChecker::check_l2_entry(const layout::L2Entry& entry, uint64_t refcount,
                                       bool repairs) {
  if ((refcount == 1) == entry.copied()) return false;
  references_->findings().add({.kind = FindingKind::kCopiedFlagCluster,
                               .offset = entry.offset().value(),
                               .value = entry.word(),
                               .refcount = refcount,
                               .is_repaired = repairs});
  return true;
}

}  // namespace byre::qcow2
