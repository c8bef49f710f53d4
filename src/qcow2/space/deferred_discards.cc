// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/deferred_discards.h"

#include <algorithm>
#include <new>

#include "base/assert.h"
#include "base/checked.h"
#include "byre/error.h"

namespace byre::qcow2 {

Task<void> discard_inside(BlockDevice* device, uint64_t begin, uint64_t end) {
  end = std::min(end, device->size());
  if (begin >= end) co_return;
  try {
    co_await device->discard(begin, end - begin);
  } catch (const Error&) {
    // The space stays allocated; nothing else depends on it.
  } catch (const std::bad_alloc&) {
  }
}

void DeferredDiscards::insert(Pieces* pieces, uint64_t begin, uint64_t end) noexcept {
  try {
    auto next = pieces->upper_bound(begin);
    if (next != pieces->begin() && std::prev(next)->second >= begin) {
      --next;
      next->second = std::max(next->second, end);
    } else {
      next = pieces->emplace(begin, end).first;
    }
    const auto joined = next++;
    while (next != pieces->end() && next->first <= joined->second) {
      joined->second = std::max(joined->second, next->second);
      next = pieces->erase(next);
    }
  } catch (const std::bad_alloc&) {
    // The space stays allocated.
  }
}

void DeferredDiscards::erase(Pieces* pieces, uint64_t begin, uint64_t end) noexcept {
  auto piece = pieces->upper_bound(begin);
  if (piece != pieces->begin() && std::prev(piece)->second > begin) --piece;
  while (piece != pieces->end() && piece->first < end) {
    const auto [piece_begin, piece_end] = *piece;
    piece = pieces->erase(piece);
    if (piece_begin < begin) insert(pieces, piece_begin, begin);
    if (piece_end > end) insert(pieces, end, piece_end);
  }
}

void DeferredDiscards::add(HostCluster cluster) noexcept {
  const layout::Geometry& geometry = context_->geometry;
  insert(&waiting_, geometry.offset_of(cluster).value(), geometry.offset_of(cluster + 1).value());
}

Task<void> DeferredDiscards::withdraw(layout::HostOffset begin, uint64_t length) {
  const uint64_t cluster_size = context_->geometry.cluster_size();
  const uint64_t first = align_down(begin.value(), cluster_size);
  const uint64_t end = align_up(begin.value() + length, cluster_size);
  erase(&waiting_, first, end);
  erase(&ready_, first, end);
  if (running_begin_ >= end || running_end_ <= first) co_return;
  const Mutex::Guard until_done = co_await mutex_.lock();
}

void DeferredDiscards::check() const {
  for (const Pieces* const pieces : {&waiting_, &ready_}) {
    uint64_t end = 0;
    bool is_first = true;
    for (const auto& [piece_begin, piece_end] : *pieces) {
      BYRE_ASSERT(piece_begin < piece_end);
      BYRE_ASSERT(is_first || end < piece_begin);
      end = piece_end;
      is_first = false;
    }
  }
  BYRE_ASSERT(running_end_ == 0 || (running_begin_ < running_end_ && mutex_.is_locked()));
}

// The discard in flight has ended when this is destroyed, however that happens.
struct DeferredDiscards::Running {
  explicit Running(DeferredDiscards* discards) : owner(discards) {}
  ~Running() { owner->running_begin_ = owner->running_end_ = 0; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  DeferredDiscards* owner;
};

void DeferredDiscards::begin_flush() noexcept {
  if (ready_.empty()) {
    ready_.swap(waiting_);
    return;
  }
  for (const auto& [begin, end] : waiting_) insert(&ready_, begin, end);
  waiting_.clear();
}

Task<void> DeferredDiscards::run() {
  while (!ready_.empty()) {
    const Mutex::Guard guard = co_await mutex_.lock();
    if (ready_.empty()) co_return;
    const auto first = ready_.begin();
    running_begin_ = first->first;
    running_end_ = first->second;
    ready_.erase(first);
    const Running until_done(this);
    co_await discard_inside(&context_->data_device(), running_begin_, running_end_);
  }
}

}  // namespace byre::qcow2
