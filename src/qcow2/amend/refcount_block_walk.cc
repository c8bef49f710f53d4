// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/refcount_block_walk.h"

#include <algorithm>
#include <utility>

#include "async/when_all.h"
#include "base/units.h"
#include "block/read_zero_padded.h"

namespace byre::qcow2 {

namespace {

// Bytes of blocks in memory, and blocks that are read at once.
constexpr uint64_t kBatchBytes = 4 * kMiB;
constexpr uint64_t kBatchBlocksMax = 32;

}  // namespace

Task<std::optional<RefcountBlockWalk::Block>> RefcountBlockWalk::next() {
  if (next_in_batch_ == batch_.size()) co_await read_batch();
  if (batch_.empty()) co_return std::nullopt;
  co_return batch_[next_in_batch_++];
}

Task<void> RefcountBlockWalk::read_block(Block* block) {
  co_await context_->events().raise(DebugEvent::kRefblockLoad);
  const ReadBuffers to(block->bytes);
  const layout::HostOffset offset = refcounts_->block_offset(block->table_index);
  co_await read_zero_padded(&context_->file(), offset.value(), to);
}

Task<void> RefcountBlockWalk::read_batch() {
  const uint64_t block_size = context_->geometry.cluster_size();
  const uint64_t blocks_max = std::clamp<uint64_t>(kBatchBytes / block_size, 1, kBatchBlocksMax);
  batch_.clear();
  next_in_batch_ = 0;
  for (; next_index_ < refcounts_->table_entries() && batch_.size() < blocks_max; ++next_index_) {
    if (!refcounts_->has_block(next_index_)) continue;
    if (buffer_.size() == 0) buffer_ = Buffer(blocks_max * block_size);
    batch_.push_back({next_index_, buffer_.bytes(batch_.size() * block_size, block_size)});
  }
  std::vector<Task<void>> reads;
  for (Block& block : batch_) reads.push_back(read_block(&block));
  co_await when_all(std::move(reads));
}

}  // namespace byre::qcow2
