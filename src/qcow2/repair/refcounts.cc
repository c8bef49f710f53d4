// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/refcounts.h"

#include <algorithm>

#include "block/read_zero_padded.h"
#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

// While something cannot be followed, nothing is freed: clusters that look leaked may be what it
// would have led to.
RefcountRepairer::RefcountRepairer(CheckPass* pass, RepairScope scope)
    : pass_(pass),
      repairs_leaks_(!pass->references().is_incomplete()),
      repairs_corruptions_(scope == RepairScope::kAll),
      block_file_(&pass->file().device()),
      block_(pass->geometry().cluster_size()) {}

Task<void> RefcountRepairer::repair() {
  const uint64_t clusters = pass_->counts().cluster_count();
  const uint64_t block_entries = pass_->geometry().refcount_block_entries();
  for (uint64_t first = 0; first < clusters; first += block_entries) {
    if (pass_->options().cancellation != nullptr) pass_->options().cancellation->check();
    const uint64_t index = first / block_entries;
    // Without a block all refcounts are 0, and so are the references, or the structure would have
    // been rebuilt.
    if (pass_->refcounts().entry(index).offset().is_zero()) continue;
    co_await repair_block(index, first, std::min(block_entries, clusters - first));
  }
  if (repairs_corruptions_) co_await raise_past_end();
}

// QEMU prints nothing about these refcounts, so they are not reported.
Task<void> RefcountRepairer::raise_past_end() {
  const std::map<uint64_t, uint64_t>& counts = pass_->references().outside_counts();
  const uint64_t block_entries = pass_->geometry().refcount_block_entries();
  const uint32_t order = pass_->geometry().refcount_order();
  for (auto next = counts.begin(); next != counts.end();) {
    const uint64_t index = next->first / block_entries;
    const uint64_t end = (index + 1) * block_entries;
    const layout::RefcountTableEntry entry = pass_->refcounts().entry(index);
    const bool has_block = entry.kind(pass_->geometry()) == layout::RefcountTableKind::kBlock &&
                           !pass_->references().is_outside(entry.offset().value(), block_.size());
    if (!has_block) {
      next = counts.lower_bound(end);
      continue;
    }
    const ConstBytes stored = co_await block_file_.read(entry.offset().value(), block_.size(), 0);
    std::copy(stored.begin(), stored.end(), block_.data());
    bool is_changed = false;
    for (; next != counts.end() && next->first < end; ++next) {
      const uint64_t index_in_block = next->first % block_entries;
      const uint64_t references = std::min(next->second, pass_->geometry().refcount_max());
      if (layout::load_refcount(block_.bytes(), index_in_block, order) >= references) continue;
      layout::store_refcount(block_.bytes(), index_in_block, order, references);
      is_changed = true;
    }
    if (!is_changed) continue;
    co_await write_block(entry.offset());
  }
}

Task<void> RefcountRepairer::repair_block(uint64_t index, uint64_t first, uint64_t count) {
  const layout::HostOffset offset = pass_->refcounts().entry(index).offset();
  const ConstBytes stored = co_await block_file_.read(offset.value(), block_.size(), 0);
  std::copy(stored.begin(), stored.end(), block_.data());
  const Bytes block = block_.bytes();
  bool is_changed = false;
  for (uint64_t done = 0; done < count;) {
    const uint64_t in_page = (first + done) % ReferenceCounts::kPageClusters;
    const uint64_t piece = std::min(count - done, ReferenceCounts::kPageClusters - in_page);
    const bool has_references =
        pass_->counts().load_page((first + done) / ReferenceCounts::kPageClusters, &page_counts_);
    for (uint64_t i = 0; i < piece; ++i) {
      const uint64_t references = has_references ? page_counts_[in_page + i] : 0;
      if (repair_refcount(block, done + i, first + done + i, references)) is_changed = true;
    }
    done += piece;
  }
  if (!is_changed) co_return;
  co_await write_block(offset);
}

Task<void> RefcountRepairer::write_block(layout::HostOffset offset) {
  const WriteBuffers from(block_.bytes());
  block_file_.forget();
  co_await pass_->file().device().write(offset.value(), from, WriteFlags::kNone);
}

// Returns whether the refcount was changed.
bool RefcountRepairer::repair_refcount(Bytes block, uint64_t index_in_block, uint64_t cluster,
                                       uint64_t references) {
  const uint32_t order = pass_->geometry().refcount_order();
  const uint64_t refcount = layout::load_refcount(block, index_in_block, order);
  if (refcount == references) return false;
  const bool is_leak = refcount > references;
  const bool is_given_back = given_back_ != nullptr && given_back_->contains(cluster);
  const bool repairs = is_leak ? repairs_leaks_ || is_given_back : repairs_corruptions_;
  if (repairs) layout::store_refcount(block, index_in_block, order, references);
  using Difference = StoredRefcounts::Difference;
  // Kept leaks are reported once, corruptions outside the scope twice, as in QEMU.
  if (repairs || !is_leak) {
    pass_->refcounts().report_difference(cluster, refcount, references,
                                         repairs ? Difference::kRepaired : Difference::kLeft);
  }
  return repairs;
}

RefcountsPastEnd::RefcountsPastEnd(const CheckSubject& subject, const CheckOptions& options,
                                   uint64_t end)
    : header_(subject.header),
      options_(options),
      geometry_(subject.header),
      file_(subject.file),
      end_(end) {}

Task<bool> RefcountsPastEnd::has_any() {
  co_return co_await visit(false);
}

Task<void> RefcountsPastEnd::clear() {
  co_await visit(true);
}

// Returns whether there were any; stops at the first block that has some, unless it clears them.
Task<bool> RefcountsPastEnd::visit(bool clears) {
  const uint64_t table_size = uint64_t{header_.refcount_table_clusters} << header_.cluster_bits;
  Buffer table(file_.stored(header_.refcount_table_offset.value(), table_size));
  if (table.size() == 0) co_return false;
  const ReadBuffers to(table.bytes());
  co_await read_zero_padded(&file_.device(), header_.refcount_table_offset.value(), to);
  const uint64_t per_block = geometry_.refcount_block_entries();
  Buffer block(geometry_.cluster_size());
  bool has_any = false;
  for (uint64_t index = end_ / per_block; index < table.size() / 8; ++index) {
    const layout::RefcountTableEntry entry(load_big_endian<uint64_t>(table.data() + index * 8));
    if (entry.kind(geometry_) != layout::RefcountTableKind::kBlock) continue;
    if (options_.cancellation != nullptr) options_.cancellation->check();
    const bool is_hole = co_await file_.is_hole(entry.offset().value(), block.size());
    if (is_hole) continue;
    const ConstBytes stored = co_await file_.read(entry.offset().value(), block.size(), 0);
    std::copy(stored.begin(), stored.end(), block.data());
    if (!clear_in(block.bytes(), index * per_block)) continue;
    has_any = true;
    if (!clears) break;
    const WriteBuffers from(block.bytes());
    co_await file_.device().write(entry.offset().value(), from, WriteFlags::kNone);
  }
  co_return has_any;
}

// Clears them in a block that begins with cluster `first`; returns whether there were any.
bool RefcountsPastEnd::clear_in(Bytes block, uint64_t first) const {
  const uint32_t order = geometry_.refcount_order();
  bool had_any = false;
  for (uint64_t i = end_ > first ? end_ - first : 0; i < geometry_.refcount_block_entries(); ++i) {
    if (layout::load_refcount(block, i, order) == 0) continue;
    layout::store_refcount(block, i, order, 0);
    had_any = true;
  }
  return had_any;
}

}  // namespace byre::qcow2
