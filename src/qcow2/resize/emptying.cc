// SPDX-License-Identifier: Apache-2.0
#include "qcow2/resize/emptying.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "qcow2/read/reader.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/update/table_update.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

Task<void> Emptying::run() {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  co_await flusher_->settle();
  co_await drop_tables();
  // The new tables are past the clusters that were in use. Once more, they go to the first free ones,
  // so that the file can be cut off after them.
  if (context_->file().limits().grows) co_await drop_tables();
  BlockDevice* const data_file = context_->storage.data_file();
  if (data_file != nullptr && !context_->header().has_raw_external_data()) {
    co_await discard_inside(data_file, 0, data_file->size());
  }
  co_await allocator_->truncate_to_used();
}

Task<void> Emptying::drop_tables() {
  TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
  co_await update.begin();
  // What is past the disk's entries belongs to the VM state area.
  std::vector<uint64_t> dropped = tables_->l1.entries();
  std::vector<uint64_t> kept = dropped;
  const uint64_t disk_entries =
      std::min<uint64_t>(context_->geometry.l1_entries_for(context_->disk_size()), kept.size());
  std::fill_n(kept.begin(), disk_entries, 0);
  std::fill(dropped.begin() + static_cast<ptrdiff_t>(disk_entries), dropped.end(), 0);
  co_await update.drop_references(dropped);
  co_await update.replace_active_l1(std::move(kept));
  co_await update.commit(update.unchanged());
  reader_->drop_all_compressed();
  co_await update.finish(FreeCause::kDiscard);
}

}  // namespace byre::qcow2
