// SPDX-License-Identifier: Apache-2.0
#include "qcow2/flusher.h"

#include <exception>

#include "qcow2/allocator.h"
#include "qcow2/image_state.h"
#include "qcow2/linker.h"

namespace byre::qcow2 {

Task<void> Flusher::flush() {
  co_await state_->events.raise(DebugEvent::kFlushToOs);
  const uint64_t mine = ++requested_;
  const Mutex::Guard guard = co_await mutex_.lock();
  if (done_ >= mine) co_return;
  const uint64_t covered = requested_;
  co_await run(!state_->uses_lazy_refcounts());
  done_ = covered;
}

Task<void> Flusher::flush_all() {
  const Mutex::Guard guard = co_await mutex_.lock();
  const uint64_t covered = requested_;
  co_await run(true);
  done_ = covered;
}

bool Flusher::has_dirty_tables(bool with_refcounts) const {
  return (with_refcounts && state_->refcount_cache->has_dirty()) || state_->l2_cache->has_dirty() ||
         state_->l1.is_dirty();
}

Task<void> Flusher::run(bool with_refcounts) {
  if (state_->failure) throw Error(*state_->failure);
  Allocator::Frees frees = allocator_->take_waiting();
  DeferredDiscards& discards = state_->write_state->discards;
  discards.begin_flush();
  std::exception_ptr error;
  try {
    if (has_dirty_tables(with_refcounts)) co_await write_tables(with_refcounts);
    co_await flush_devices();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    allocator_->put_back(std::move(frees));
    std::rethrow_exception(error);
  }
  // Before any of them can be given away.
  co_await discards.run();
  co_await allocator_->count_down(std::move(frees));
}

Task<void> Flusher::flush_devices() {
  co_await state_->events.raise(DebugEvent::kFlushToDisk);
  co_await state_->flush_devices();
}

Task<void> Flusher::write_l1_table() {
  std::exception_ptr error;
  const HostOffset table(state_->l1.offset());
  const uint64_t table_size = uint64_t{state_->l1.size()} * 8;
  try {
    if (state_->failure) throw Error(*state_->failure);
    state_->write_state->overlap.check(table, table_size, MetadataKind::kActiveL1);
    co_await state_->l1.write_back(state_->file.get());
  } catch (const Error& failure) {
    state_->write_state->note_failure(failure, false);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

Task<void> Flusher::write_tables(bool with_refcounts) {
  // No table joins the L1 table between the moment its L2 tables are written and its own.
  const Mutex::Guard guard = co_await linker_->l1_mutex().lock();
  if (with_refcounts) co_await state_->refcount_cache->write_back();
  // Flushes the data and the refcounts first, where an entry depends on them.
  co_await state_->l2_cache->write_back();
  if (!state_->l1.is_dirty()) co_return;
  co_await flush_devices();
  co_await write_l1_table();
}

}  // namespace byre::qcow2
