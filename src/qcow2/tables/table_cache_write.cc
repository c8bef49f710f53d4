// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "async/when_all.h"
#include "qcow2/tables/table_cache_entry.h"

// Writing changed slices back to the file, in order.
namespace byre::qcow2 {

namespace {

// Bytes of slices that a write-back copies at once.
constexpr size_t kBatchBytes = 4 << 20;

}  // namespace

// Adjacent slices that are written in one write.
struct TableCache::Run {
  std::vector<Entry*> entries;
  Buffer copy;
  bool is_done = false;  // written or failed; its entries are unpinned, and dirty if it failed
};

std::vector<TableCache::Entry*> TableCache::dirty_entries(uint64_t offset, uint64_t length) const {
  std::vector<Entry*> dirty;
  uint64_t left = dirty_count_;
  for (Entry* entry = newest_; entry != nullptr && left > 0; entry = entry->older) {
    if (!entry->dirty) continue;
    --left;
    if (entry->offset >= offset && entry->offset - offset < length) dirty.push_back(entry);
  }
  std::ranges::sort(dirty, {}, &Entry::offset);
  return dirty;
}

Task<void> TableCache::write_back() {
  return write_back_range(0, UINT64_MAX);
}

Task<void> TableCache::write_back_range(uint64_t offset, uint64_t length) {
  // Even if nothing is dirty, an earlier write may still be in flight: wait for it.
  if (dirty_count_ == 0 && !write_mutex_.is_locked()) co_return;
  const Mutex::Guard guard = co_await write_mutex_.lock();
  const std::vector<Entry*> dirty = dirty_entries(offset, length);
  const size_t batch_max = std::max<size_t>(kBatchBytes / options_.slice_size, 1);
  for (size_t first = 0; first < dirty.size(); first += batch_max) {
    const size_t count = std::min(batch_max, dirty.size() - first);
    const std::span<Entry* const> batch = std::span(dirty).subspan(first, count);
    co_await write_batch(batch);
  }
}

Task<void> TableCache::write_batch(std::span<Entry* const> batch) {
  std::vector<std::unique_ptr<Run>> runs;
  for (Entry* const entry : batch) {
    if (runs.empty() ||
        runs.back()->entries.back()->offset + options_.slice_size != entry->offset) {
      runs.push_back(std::make_unique<Run>());
    }
    runs.back()->entries.push_back(entry);
  }
  std::vector<Task<void>> writes;
  writes.reserve(runs.size());
  for (const auto& run : runs) {
    run->copy = Buffer(run->entries.size() * options_.slice_size);
    writes.push_back(write_run(run.get()));
  }
  // From here to the await nothing can fail.
  for (const auto& run : runs) {
    uint8_t* to = run->copy.data();
    for (Entry* const entry : run->entries) {
      std::memcpy(to, entry->buffer.data(), options_.slice_size);
      to += options_.slice_size;
      set_dirty(entry, false);
      ++entry->pins;
    }
  }
  std::exception_ptr error;
  try {
    co_await satisfy_dependencies_locked();
    co_await when_all(std::move(writes));
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) co_return;
  for (const auto& run : runs) {
    if (run->is_done) continue;
    for (Entry* const entry : run->entries) {
      set_dirty(entry, true);
      unpin(entry);
    }
  }
  std::rethrow_exception(error);
}

Task<void> TableCache::write_run(Run* run) {
  ++writes_;
  std::exception_ptr error;
  const uint64_t offset = run->entries.front()->offset;
  try {
    if (before_write_) before_write_(offset, run->copy.size());
    co_await storage_->events().raise(options_.update_event);
    co_await storage_->file().write(offset, run->copy.bytes());
  } catch (...) {
    error = std::current_exception();
  }
  for (Entry* const entry : run->entries) {
    if (error) set_dirty(entry, true);
    unpin(entry);
  }
  run->is_done = true;
  if (!error) co_return;
  report_failure(error, Health::Operation::kWrite);
  std::rethrow_exception(error);
}

void TableCache::report_failure(const std::exception_ptr& error,
                                Health::Operation operation) const {
  if (!on_failure_) return;
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    on_failure_(known, operation);
  } catch (const std::exception&) {
    // Out of memory: what was not written stays dirty.
  }
}

Task<void> TableCache::satisfy_dependencies_locked() {
  if (dependencies_satisfied_ == dependency_changes_) co_return;
  const uint64_t rules = dependency_changes_;
  if (depends_on_ != nullptr) co_await depends_on_->write_back();
  std::exception_ptr error;
  try {
    BlockDevice* const data_file = storage_->data_file();
    if (flush_needed_ && data_file != nullptr) co_await data_file->flush();
    co_await storage_->file().flush();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    report_failure(error, Health::Operation::kFlush);
    std::rethrow_exception(error);
  }
  dependencies_satisfied_ = rules;
  if (rules == dependency_changes_) {
    depends_on_ = nullptr;
    flush_needed_ = false;
  }
}

Task<void> TableCache::depend_on(TableCache& other) {
  // The opposite dependency, or one on a third cache, is satisfied first, so that no cycle can
  // arise.
  while (other.depends_on_ == this || (depends_on_ != nullptr && depends_on_ != &other)) {
    if (other.depends_on_ == this) co_await other.satisfy_dependencies();
    if (depends_on_ != nullptr && depends_on_ != &other) co_await satisfy_dependencies();
  }
  depends_on_ = &other;
  ++dependency_changes_;
}

Task<void> TableCache::satisfy_dependencies() {
  const Mutex::Guard guard = co_await write_mutex_.lock();
  co_await satisfy_dependencies_locked();
}

}  // namespace byre::qcow2
