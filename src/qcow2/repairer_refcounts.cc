// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repairer_refcounts.h"

#include <algorithm>

#include "qcow2/layout/refcount_entry.h"

namespace byre::qcow2 {

// While something could not be followed, nothing is given back: what counts as leaked may be what
// it would have led to.
RefcountMender::RefcountMender(CheckPass* pass, RepairScope scope)
    : pass_(pass),
      mends_leaks_(!pass->references().is_incomplete()),
      mends_corruptions_(scope == RepairScope::kAll),
      block_file_(&pass->file().device()),
      block_(pass->geometry().cluster_size()) {}

Task<void> RefcountMender::mend() {
  const uint64_t clusters = pass_->counts().cluster_count();
  const uint64_t block_entries = pass_->geometry().refcount_block_entries();
  for (uint64_t first = 0; first < clusters; first += block_entries) {
    if (pass_->options().cancellation != nullptr) pass_->options().cancellation->check();
    const uint64_t index = first / block_entries;
    // Without a block all refcounts are 0, and so are the references, or it would have to be made.
    if (pass_->refcounts().entry(index).offset().is_zero()) continue;
    co_await mend_block(index, first, std::min(block_entries, clusters - first));
  }
}

Task<void> RefcountMender::mend_block(uint64_t index, uint64_t first, uint64_t count) {
  const uint64_t offset = pass_->refcounts().entry(index).offset().value();
  const ConstBytes stored = co_await block_file_.read(offset, block_.size(), 0);
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
      if (mend_refcount(block, done + i, first + done + i, references)) is_changed = true;
    }
    done += piece;
  }
  if (!is_changed) co_return;
  const IoVector from(block);
  co_await pass_->file().device().write(offset, from, WriteFlags::kNone);
}

// Whether the refcount was changed.
bool RefcountMender::mend_refcount(Bytes block, uint64_t index_in_block, uint64_t cluster,
                                   uint64_t references) {
  const uint32_t order = pass_->geometry().refcount_order();
  const uint64_t refcount = layout::load_refcount(block, index_in_block, order);
  if (refcount == references) return false;
  const bool is_leak = refcount > references;
  const bool is_given_back = given_back_ != nullptr && given_back_->contains(cluster);
  const bool mends = is_leak ? mends_leaks_ || is_given_back : mends_corruptions_;
  if (mends) layout::store_refcount(block, index_in_block, order, references);
  using Difference = StoredRefcounts::Difference;
  // Kept leaks are told once, those that the scope leaves out twice, as QEMU does.
  if (mends || !is_leak) {
    pass_->refcounts().report_difference(cluster, refcount, references,
                                         mends ? Difference::kMended : Difference::kLeft);
  }
  return mends;
}

}  // namespace byre::qcow2
