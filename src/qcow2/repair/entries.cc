// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/entries.h"

#include <algorithm>

#include "qcow2/check/changed_range.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"

namespace byre::qcow2 {

using layout::L1Entry;
using layout::L2Entry;

EntryRepairer::EntryRepairer(CheckPass* pass)
    : pass_(pass),
      l1_file_(&pass->file().device()),
      l2_file_(&pass->file().device()),
      l1_(pass->geometry().cluster_size()),
      l2_(pass->geometry().cluster_size()) {}

Task<bool> EntryRepairer::repair() {
  const layout::Header& header = pass_->subject().header;
  co_await repair_l1_table(header.l1_table_offset.value(), header.l1_size);
  for (const layout::Snapshot& snapshot : pass_->metadata().snapshots()) {
    if (!pass_->geometry().is_cluster_aligned(snapshot.l1_table_offset)) continue;
    if (snapshot.l1_size > layout::limits::kSnapshotL1EntriesMax) continue;
    co_await repair_l1_table(snapshot.l1_table_offset.value(), snapshot.l1_size);
  }
  co_return has_written_;
}

Task<void> EntryRepairer::repair_l1_table(uint64_t offset, uint64_t entries) {
  const uint64_t end = offset + l1_file_.stored(offset, entries * 8);
  for (uint64_t place = seen_l1_.end_of(offset); place < end; place = seen_l1_.end_of(place)) {
    const uint64_t length = std::min(l1_.size(), end - place);
    seen_l1_.add(place, place + length);
    const bool is_hole = co_await l1_file_.is_hole(place, length);
    if (!is_hole) co_await repair_l1_piece(place, length);
  }
}

Task<void> EntryRepairer::repair_l1_piece(uint64_t offset, uint64_t length) {
  const ConstBytes stored = co_await l1_file_.read(offset, length, 0);
  std::copy(stored.begin(), stored.end(), l1_.data());
  const bool may_write = pass_->references().is_referred_to_once(offset, length);
  ChangedRange changed;
  for (uint64_t at = 0; at + 8 <= length; at += 8) {
    const L1Entry entry(load_big_endian<uint64_t>(l1_.data() + at));
    const std::optional<L1Entry> better = pass_->references().entry_repair().repaired(entry);
    if (better && may_write) {
      report(FindingKind::kReferenceRemoved, entry.offset().value(), entry.word());
      store_big_endian<uint64_t>(l1_.data() + at, better->word());
      changed.add(at, at + 8);
    } else if (entry.kind(pass_->geometry()) == layout::L1Kind::kTable) {
      co_await repair_l2_table(entry.offset().value());
    }
  }
  if (changed.is_empty()) co_return;
  const WriteBuffers from(l1_.bytes(changed.begin(), changed.size()));
  co_await pass_->file().device().write(offset + changed.begin(), from, WriteFlags::kNone);
  has_written_ = true;
  l1_file_.forget();
  l2_file_.forget();
}

Task<void> EntryRepairer::repair_l2_table(uint64_t offset) {
  if (!pass_->references().is_only_l2_table(offset) || !seen_l2_.insert(offset).second) co_return;
  if (pass_->options().cancellation != nullptr) pass_->options().cancellation->check();
  const layout::Geometry& geometry = pass_->geometry();
  const bool is_hole = co_await l2_file_.is_hole(offset, l2_.size());
  if (is_hole) co_return;
  const ConstBytes stored = co_await l2_file_.read(offset, l2_.size(), CheckerFile::kReadMax);
  std::copy(stored.begin(), stored.end(), l2_.data());
  ChangedRange changed;
  for (uint32_t i = 0; i < geometry.l2_entries(); ++i) {
    const L2Entry entry = L2Entry::load(l2_.bytes(), i, geometry);
    const std::optional<L2Entry> better = pass_->references().entry_repair().repaired(entry);
    if (!better) continue;
    const bool is_aligned = geometry.is_cluster_aligned(entry.offset());
    if (entry.is_compressed()) {
      report(FindingKind::kCompressedCopied, offset, entry.word());
    } else if (is_aligned) {
      // The first check has reported the others as repaired.
      report(FindingKind::kReferenceRemoved, entry.offset().value(), entry.word());
    }
    better->store(l2_.bytes(), i, geometry);
    changed.add(uint64_t{i} * geometry.l2_entry_size(), uint64_t{i + 1} * geometry.l2_entry_size());
  }
  if (changed.is_empty()) co_return;
  const WriteBuffers from(l2_.bytes(changed.begin(), changed.size()));
  co_await pass_->file().device().write(offset + changed.begin(), from, WriteFlags::kNone);
  has_written_ = true;
  l1_file_.forget();
  l2_file_.forget();
}

void EntryRepairer::report(FindingKind kind, uint64_t offset, uint64_t value) {
  pass_->findings().add({.kind = kind, .offset = offset, .value = value, .is_repaired = true});
}

}  // namespace byre::qcow2
