// SPDX-License-Identifier: Apache-2.0
#include "qcow2/table_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <coroutine>
#include <cstring>

#include "async/loop.h"
#include "async/when_all.h"
#include "base/checked.h"
#include "base/units.h"
#include "qcow2/padded_read.h"

// Invariants:
// - An entry that is being read or written, or pinned, is not evicted. drop() takes it out of
// entries_
//   all the same; then it lives until its last pin is gone, and nothing of it is written.
// - An entry that is dirty leaves entries_ only through drop() and drop_all(), which hold
// write_mutex_:
//   so a write-back may keep pointers to dirty entries across awaits.
// - What a write-back writes is a copy taken at one moment, and every rule (depend_on) that was set
//   before that moment is fulfilled before the copy is written. Rules that come later are about
//   changes that the copy does not have; waiting for them as well could go on for ever.
namespace byre::qcow2 {

namespace {

// Slices that a write-back copies at a time.
constexpr size_t kBatchBytes = 4 << 20;
// How many dirty slices an eviction passes over in search of a clean one before it has all written.
constexpr int kVictimSearchMax = 64;
// How often an eviction writes back and looks again before it lets the cache grow instead.
constexpr int kMakeRoomTriesMax = 4;

}  // namespace

struct TableCache::Entry {
  uint64_t offset = 0;
  Buffer buffer;
  uint64_t generation = 0;  // of the cache, when it was last asked for
  uint32_t pins = 0;
  bool dirty = false;
  bool loaded = false;
  bool removed = false;  // not in entries_ any more
  Entry* newer = nullptr;
  Entry* older = nullptr;
  std::vector<std::coroutine_handle<>> waiting;  // for loaded, or for the failure of the read
};

// Neighbouring slices that go out in one write.
struct TableCache::Run {
  std::vector<Entry*> entries;
  Buffer copy;
};

TableCache::Slice::Slice(TableCache* cache, Entry* entry) : cache_(cache), entry_(entry) {
  ++entry->pins;
}

uint64_t TableCache::Slice::offset() const {
  return entry_->offset;
}

Bytes TableCache::Slice::bytes() const {
  return entry_->buffer.bytes();
}

void TableCache::Slice::mark_dirty() const {
  if (!entry_->removed) cache_->set_dirty(entry_, true);
}

bool TableCache::Slice::is_dirty() const {
  return entry_->dirty;
}

void TableCache::Slice::release() {
  if (entry_ != nullptr) unpin(std::exchange(entry_, nullptr));
  cache_ = nullptr;
}

TableCache::TableCache(BlockDevice* file, Options options) : file_(file), options_(options) {
  BYRE_ASSERT(is_power_of_two(options_.slice_size) && options_.slice_size >= kSectorSize);
  BYRE_ASSERT(options_.slices_max >= 2);
}

TableCache::~TableCache() {
  for (const auto& [offset, entry] : entries_) BYRE_ASSERT(entry->pins == 0);
}

TableCache::Entry* TableCache::find_entry(uint64_t offset) const {
  const auto found = entries_.find(offset);
  return found == entries_.end() ? nullptr : found->second.get();
}

void TableCache::unlink(Entry* entry) {
  (entry->newer != nullptr ? entry->newer->older : newest_) = entry->older;
  (entry->older != nullptr ? entry->older->newer : oldest_) = entry->newer;
  entry->newer = entry->older = nullptr;
}

void TableCache::push_front(Entry* entry) {
  entry->older = newest_;
  (newest_ != nullptr ? newest_->newer : oldest_) = entry;
  newest_ = entry;
}

void TableCache::make_newest(Entry* entry) {
  entry->generation = generation_;
  if (entry == newest_) return;
  unlink(entry);
  push_front(entry);
}

void TableCache::set_dirty(Entry* entry, bool dirty) {
  if (entry->dirty == dirty) return;
  entry->dirty = dirty;
  dirty_count_ += dirty ? 1 : -1;
}

TableCache::Entry* TableCache::insert(uint64_t offset) {
  auto entry = std::make_unique<Entry>();
  entry->offset = offset;
  entry->generation = generation_;
  entry->buffer = Buffer(options_.slice_size);
  Entry* const result = entry.get();
  entries_.emplace(offset, std::move(entry));
  push_front(result);
  return result;
}

void TableCache::remove(Entry* entry) {
  set_dirty(entry, false);
  unlink(entry);
  const auto place = entries_.find(entry->offset);
  std::unique_ptr<Entry> owned = std::move(place->second);
  entries_.erase(place);
  if (owned->pins == 0) return;
  owned->removed = true;
  owned.release();  // unpin() frees it
}

void TableCache::unpin(Entry* entry) {
  if (--entry->pins == 0 && entry->removed) delete entry;
}

TableCache::Slice TableCache::find(uint64_t offset) {
  Entry* const entry = find_entry(offset);
  if (entry == nullptr || !entry->loaded) return {};
  make_newest(entry);
  return Slice(this, entry);
}

Task<TableCache::Slice> TableCache::get(uint64_t offset) {
  BYRE_ASSERT(is_aligned(offset, options_.slice_size));
  while (true) {
    Slice slice = find(offset);
    if (slice) co_return slice;
    if (find_entry(offset) == nullptr) co_await make_room();
    // Somebody may have been faster.
    if (Entry* const loading = find_entry(offset); loading != nullptr) {
      co_await wait_until_loaded(loading);
    } else {
      Slice mine(this, insert(offset));
      co_await load(mine.entry_);
      if (!mine.entry_->removed) co_return mine;
    }
  }
}

Task<TableCache::Slice> TableCache::get_new(uint64_t offset) {
  BYRE_ASSERT(is_aligned(offset, options_.slice_size));
  while (true) {
    if (find_entry(offset) == nullptr) co_await make_room();
    Entry* entry = find_entry(offset);
    if (entry != nullptr && !entry->loaded) {
      // The image refers to a place that was free: somebody reads it as a table.
      co_await wait_until_loaded(entry);
      continue;
    }
    if (entry == nullptr) entry = insert(offset);
    entry->loaded = true;
    std::memset(entry->buffer.data(), 0, options_.slice_size);
    set_dirty(entry, true);
    make_newest(entry);
    co_return Slice(this, entry);
  }
}

Task<void> TableCache::wait_until_loaded(Entry* entry) {
  struct Wait {
    Entry* entry;
    bool await_ready() const { return entry->loaded; }
    void await_suspend(std::coroutine_handle<> self) const { entry->waiting.push_back(self); }
    void await_resume() const {}
  };
  const Wait loaded{entry};
  co_await loaded;
}

// The caller has it pinned.
Task<void> TableCache::load(Entry* entry) {
  ++reads_;
  std::exception_ptr error;
  try {
    co_await events_.raise(options_.load_event);
    co_await padded_read(file_, entry->offset, entry->buffer.bytes());
  } catch (const Error& failure) {
    error = std::make_exception_ptr(
        failure.with_hint(fmt::format("'{}': the {} at {:#x} could not be read", file_->filename(),
                                      options_.name, entry->offset)));
  } catch (...) {
    error = std::current_exception();
  }
  entry->loaded = !error;
  for (const std::coroutine_handle<> waiter : entry->waiting) Loop::current().schedule(waiter);
  entry->waiting.clear();
  if (!error) co_return;
  if (!entry->removed) remove(entry);
  std::rethrow_exception(error);
}

TableCache::Entry* TableCache::clean_victim() const {
  int passed = 0;
  for (Entry* entry = oldest_; entry != nullptr; entry = entry->newer) {
    if (entry->pins > 0) continue;
    if (!entry->dirty) return entry;
    if (++passed == kVictimSearchMax) break;
  }
  return nullptr;
}

Task<void> TableCache::make_room() {
  for (int tries = 0; tries < kMakeRoomTriesMax; ++tries) {
    while (entries_.size() >= options_.slices_max) {
      Entry* const victim = clean_victim();
      if (victim == nullptr) break;
      remove(victim);
    }
    if (entries_.size() < options_.slices_max || dirty_count_ == 0) co_return;
    co_await write_back();
  }
}

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
  // Even with nothing dirty a write may be under way that was called for before: wait for it.
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
  for (const auto& run : runs) run->copy = Buffer(run->entries.size() * options_.slice_size);
  // Nothing below this line and before the await can fail.
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
    co_await settle_rules();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    for (Entry* const entry : batch) {
      set_dirty(entry, true);
      unpin(entry);
    }
    std::rethrow_exception(error);
  }
  std::vector<Task<void>> writes;
  for (const auto& run : runs) writes.push_back(write_run(run.get()));
  co_await when_all(std::move(writes));
}

Task<void> TableCache::write_run(Run* run) {
  ++writes_;
  std::exception_ptr error;
  const uint64_t offset = run->entries.front()->offset;
  try {
    if (before_write_) before_write_(offset, run->copy.size());
    co_await events_.raise(options_.update_event);
    co_await file_->write(offset, run->copy.bytes());
  } catch (...) {
    error = std::current_exception();
  }
  for (Entry* const entry : run->entries) {
    if (error) set_dirty(entry, true);
    unpin(entry);
  }
  if (!error) co_return;
  tell(error, Failure::kWrite);
  std::rethrow_exception(error);
}

void TableCache::tell(const std::exception_ptr& error, Failure failure) const {
  if (!on_failure_) return;
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    on_failure_(known, failure);
  } catch (const std::exception&) {
    // Out of memory: nothing was written.
  }
}

Task<void> TableCache::settle_rules() {
  if (rules_settled_ == rule_changes_) co_return;
  const uint64_t rules = rule_changes_;
  if (depends_on_ != nullptr) co_await depends_on_->write_back();
  std::exception_ptr error;
  try {
    if (flush_needed_ && data_device_ != nullptr) co_await data_device_->flush();
    co_await file_->flush();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    tell(error, Failure::kFlush);
    std::rethrow_exception(error);
  }
  rules_settled_ = rules;
  if (rules == rule_changes_) {
    depends_on_ = nullptr;
    flush_needed_ = false;
  }
}

Task<void> TableCache::depend_on(TableCache& other) {
  // The opposite rule, or a rule about a third cache, is fulfilled first, so that no circle can
  // arise.
  while (other.depends_on_ == this || (depends_on_ != nullptr && depends_on_ != &other)) {
    if (other.depends_on_ == this) co_await other.settle();
    if (depends_on_ != nullptr && depends_on_ != &other) co_await settle();
  }
  depends_on_ = &other;
  ++rule_changes_;
}

Task<void> TableCache::settle() {
  const Mutex::Guard guard = co_await write_mutex_.lock();
  co_await settle_rules();
}

Task<void> TableCache::drop(uint64_t offset, uint64_t length) {
  const Mutex::Guard guard = co_await write_mutex_.lock();
  std::vector<Entry*> gone;
  for (const auto& [place, entry] : entries_) {
    if (place >= offset && place - offset < length) gone.push_back(entry.get());
  }
  for (Entry* const entry : gone) remove(entry);
}

void TableCache::drop_unused() {
  // Those asked for last are at the other end.
  for (Entry* entry = oldest_; entry != nullptr && entry->generation < generation_;) {
    Entry* const next = entry->newer;
    if (entry->pins == 0 && !entry->dirty && entry->loaded) remove(entry);
    entry = next;
  }
  ++generation_;
}

Task<void> TableCache::drop_all() {
  return drop(0, UINT64_MAX);
}

}  // namespace byre::qcow2
