// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/flusher.h"

#include <exception>

#include "base/units.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/tables/tables.h"
#include "qcow2/write/linker.h"

namespace byre::qcow2 {

namespace {

// Bytes of freed clusters that may wait for a flush before a request flushes by itself.
constexpr uint64_t kWaitingBytesMax = 256 * kMiB;
// Pieces that may wait to be discarded before a request flushes by itself.
constexpr uint64_t kWaitingDiscardsMax = 64 * 1024;

}  // namespace

Task<void> Flusher::flush() {
  co_await context_->events().raise(DebugEvent::kFlushToOs);
  const uint64_t mine = ++requested_;
  const Mutex::Guard guard = co_await mutex_.lock();
  if (done_ >= mine) co_return;
  const uint64_t covered = requested_;
  co_await run(!context_->uses_lazy_refcounts());
  done_ = covered;
}

Task<void> Flusher::flush_all() {
  const Mutex::Guard guard = co_await mutex_.lock();
  const uint64_t covered = requested_;
  co_await run(true);
  done_ = covered;
}

Task<void> Flusher::settle() {
  // A flush frees clusters when it has written the tables, which changes refcounts.
  while (has_dirty_tables(true) || allocator_->deferred_clusters() > 0 || discards_->pieces() > 0) {
    co_await flush_all();
  }
}

bool Flusher::is_backlogged() const {
  return allocator_->deferred_clusters() << context_->geometry.cluster_bits() > kWaitingBytesMax ||
         discards_->pieces() > kWaitingDiscardsMax;
}

Task<void> Flusher::flush_if_backlogged() {
  if (is_backlogged()) co_await flush();
}

Task<bool> Flusher::make_room() {
  if (!context_->health.is_prepared()) co_return false;
  bool may_help = allocator_->fill_holes();
  if (allocator_->deferred_clusters() == 0 && discards_->pieces() == 0) co_return may_help;
  try {
    co_await flush();
    may_help = true;
  } catch (const Error&) {
    // The request's own error is more relevant; the effect of the flush's error on later requests
    // has been recorded.
  }
  co_return may_help;
}

bool Flusher::has_dirty_tables(bool with_refcounts) const {
  return (with_refcounts && tables_->refcount_cache.has_dirty()) || tables_->l2_cache.has_dirty() ||
         tables_->l1.is_dirty();
}

Task<void> Flusher::run(bool with_refcounts) {
  context_->health.check_not_failed();
  Allocator::DeferredFrees frees = allocator_->take_deferred();
  discards_->begin_flush();
  std::exception_ptr error;
  try {
    if (has_dirty_tables(with_refcounts)) co_await write_tables(with_refcounts);
    co_await flush_devices();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    allocator_->requeue(std::move(frees));
    std::rethrow_exception(error);
  }
  // Discard before any of the clusters can be allocated again.
  co_await discards_->run();
  co_await allocator_->release(std::move(frees));
}

Task<void> Flusher::flush_devices() {
  co_await context_->events().raise(DebugEvent::kFlushToDisk);
  co_await context_->flush_devices();
}

Task<void> Flusher::write_l1_table() {
  std::exception_ptr error;
  const HostOffset table(tables_->l1.offset());
  const uint64_t table_size = uint64_t{tables_->l1.size()} * 8;
  try {
    context_->health.check_not_failed();
    overlap_->check(table, table_size, MetadataKind::kActiveL1);
    co_await tables_->l1.write_back(&context_->file());
  } catch (const Error& failure) {
    context_->health.note_failure(failure, Health::Operation::kWrite);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

Task<void> Flusher::write_tables(bool with_refcounts) {
  // No L2 table may be added to the L1 table between the write-back of the L2 tables and that of
  // the L1 table.
  const Mutex::Guard guard = co_await linker_->l1_mutex().lock();
  if (with_refcounts) co_await tables_->refcount_cache.write_back();
  // Flushes the data and the refcounts first, if an entry depends on them.
  co_await tables_->l2_cache.write_back();
  if (!tables_->l1.is_dirty()) co_return;
  co_await flush_devices();
  co_await write_l1_table();
}

}  // namespace byre::qcow2
