// SPDX-License-Identifier: Apache-2.0
#include "qcow2/tables/table_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <coroutine>
#include <optional>

#include "async/loop.h"
#include "base/checked.h"
#include "base/units.h"
#include "block/read_zero_padded.h"
#include "qcow2/tables/table_cache_entry.h"

namespace byre::qcow2 {

namespace {

// How many dirty slices an eviction skips in search of a clean one before it writes back
// everything.
constexpr int kVictimSearchMax = 64;
// How often an eviction writes back and retries before it lets the cache grow instead.
constexpr int kMakeRoomTriesMax = 4;
// The most bytes that one read loads.
constexpr uint64_t kReadBytesMax = 2 << 20;
// Bytes of unused buffers that are kept for reuse.
constexpr uint64_t kSpareBytesMax = 256 << 10;
// Approximate memory of a slice beyond its entries.
constexpr uint64_t kEntryBytes = 192;
// A slice is packed if that makes it at least this many times smaller.
constexpr uint64_t kPackedShare = 8;

}  // namespace

TableCache::Slice::Slice(TableCache* cache, Entry* entry) : cache_(cache), entry_(entry) {
  ++entry->pins;
}

uint64_t TableCache::Slice::offset() const {
  return entry_->offset;
}

Bytes TableCache::Slice::bytes() const {
  if (entry_->packed) cache_->unpack(entry_);
  return entry_->buffer.bytes();
}

layout::L2Stretch TableCache::Slice::l2_stretch(uint32_t index, uint32_t count_max) const {
  if (entry_->packed) return entry_->packed->stretch_at(index, count_max);
  const ConstBytes bytes = entry_->buffer.bytes();
  return layout::l2_stretch_at(bytes, index, count_max, *cache_->options_.l2_geometry);
}

void TableCache::Slice::mark_dirty() const {
  if (!entry_->removed) cache_->set_dirty(entry_, true);
}

bool TableCache::Slice::is_dirty() const {
  return entry_->dirty;
}

bool TableCache::Slice::has_space() const {
  return entry_->has_space;
}

void TableCache::Slice::release() {
  if (entry_ != nullptr) unpin(std::exchange(entry_, nullptr));
  cache_ = nullptr;
}

TableCache::TableCache(const Storage* storage, Options options)
    : storage_(storage), options_(options) {
  BYRE_ASSERT(is_power_of_two(options_.slice_size) && options_.slice_size >= kSectorSize);
  BYRE_ASSERT(options_.slices_max >= 2);
  // So that returning a buffer never allocates.
  spare_.reserve(std::max<uint64_t>(kSpareBytesMax / options_.slice_size, 1));
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

uint64_t TableCache::memory_of(const Entry& entry) {
  if (!entry.packed) return entry.buffer.size();
  return kEntryBytes + entry.packed->stretches() * layout::PackedL2::kStretchBytes;
}

TableCache::Entry* TableCache::insert(uint64_t offset) {
  auto entry = std::make_unique<Entry>();
  entry->offset = offset;
  entry->generation = generation_;
  entry->buffer = take_buffer();
  Entry* const result = entry.get();
  entries_.emplace(offset, std::move(entry));
  memory_ += memory_of(*result);
  push_front(result);
  return result;
}

std::vector<TableCache::Slice> TableCache::insert_missing(uint64_t offset, uint64_t length) {
  std::vector<Slice> slices;
  const uint64_t end = offset + length;
  slices.reserve(length / options_.slice_size);
  do {
    try {
      slices.push_back(Slice(this, insert(offset)));
    } catch (...) {
      // No memory for another slice; those after the first are optional.
      if (slices.empty()) throw;
      break;
    }
    offset += options_.slice_size;
  } while (offset < end && find_entry(offset) == nullptr);
  return slices;
}

Buffer TableCache::take_buffer() {
  if (spare_.empty()) return Buffer(options_.slice_size);
  Buffer buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void TableCache::give_back(Buffer buffer) {
  if (buffer.size() > 0 && spare_.size() < spare_.capacity()) spare_.push_back(std::move(buffer));
}

void TableCache::pack(Entry* entry) {
  const uint64_t bytes_max = options_.slice_size / kPackedShare;
  if (options_.l2_geometry == nullptr || bytes_max <= kEntryBytes) return;
  const size_t stretches_max = (bytes_max - kEntryBytes) / layout::PackedL2::kStretchBytes;
  try {
    entry->packed =
        layout::PackedL2::pack(entry->buffer.bytes(), *options_.l2_geometry, stretches_max);
  } catch (const std::bad_alloc&) {
    // The slice stays unpacked.
  }
  if (!entry->packed) return;
  give_back(std::exchange(entry->buffer, Buffer()));
  if (!entry->removed) memory_ -= options_.slice_size - memory_of(*entry);
}

void TableCache::unpack(Entry* entry) {
  Buffer buffer = take_buffer();
  entry->packed->unpack(buffer.bytes(), *options_.l2_geometry);
  if (!entry->removed) memory_ += options_.slice_size - memory_of(*entry);
  entry->packed.reset();
  entry->buffer = std::move(buffer);
}

void TableCache::remove(Entry* entry) {
  set_dirty(entry, false);
  unlink(entry);
  const auto place = entries_.find(entry->offset);
  std::unique_ptr<Entry> owned = std::move(place->second);
  entries_.erase(place);
  memory_ -= memory_of(*owned);
  if (owned->pins == 0) {
    give_back(std::move(owned->buffer));
    return;
  }
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

Task<TableCache::Slice> TableCache::get(uint64_t offset, uint64_t length) {
  BYRE_ASSERT(is_aligned(offset, options_.slice_size));
  const uint64_t length_max = std::min(kReadBytesMax, memory_max() / 2);
  length = std::max<uint64_t>(std::min(length, length_max), options_.slice_size);
  if (memory_ > memory_max()) co_await make_room(0);  // slices have been unpacked
  while (true) {
    Slice slice = find(offset);
    if (slice) co_return slice;
    if (find_entry(offset) == nullptr) co_await make_room(length);
    // Another caller may have inserted it during the await.
    if (Entry* const loading = find_entry(offset); loading != nullptr) {
      co_await wait_until_loaded(loading);
      continue;
    }
    std::vector<Slice> missing = insert_missing(offset, length);
    slice = Slice(this, missing.front().entry_);
    std::exception_ptr error;
    try {
      co_await load(&missing);
    } catch (...) {
      error = std::current_exception();
    }
    // Wakes the waiters of slices that were not loaded, whatever the reason.
    for (const Slice& each : missing) {
      if (!each.entry_->loaded) finish_load(each.entry_, false);
    }
    if (error) std::rethrow_exception(error);
    if (!slice.entry_->removed) co_return slice;
  }
}

Task<TableCache::Slice> TableCache::get_new(uint64_t offset) {
  BYRE_ASSERT(is_aligned(offset, options_.slice_size));
  while (true) {
    if (find_entry(offset) == nullptr) co_await make_room(options_.slice_size);
    Entry* entry = find_entry(offset);
    if (entry != nullptr && !entry->loaded) {
      // The image refers to a cluster that was free: another request is reading it as a table.
      co_await wait_until_loaded(entry);
      continue;
    }
    if (entry == nullptr) entry = insert(offset);
    entry->loaded = true;
    entry->has_space = true;
    Slice slice(this, entry);
    std::ranges::fill(slice.bytes(), uint8_t{0});
    set_dirty(entry, true);
    make_newest(entry);
    co_return slice;
  }
}

Task<void> TableCache::reserve_space(const Slice& slice) {
  Entry* const entry = slice.entry_;
  if (entry->has_space) co_return;
  co_await storage_->file().reserve_space(entry->offset, options_.slice_size);
  entry->has_space = true;
}

Task<void> TableCache::wait_until_loaded(Entry* entry) {
  struct Wait {
    Entry* entry;
    Waiter waiter = {};
    bool await_ready() const { return entry->loaded; }
    void await_suspend(std::coroutine_handle<> self) { entry->waiting.push_back(&waiter, self); }
    void await_resume() const {}
  };
  Wait loaded{entry};
  co_await loaded;
}

Task<void> TableCache::load(std::vector<Slice>* slices) {
  std::exception_ptr error = co_await read_slices(*slices);
  if (error && slices->size() > 1) {
    // The error may be in a slice that was not requested yet.
    for (size_t i = 1; i < slices->size(); ++i) finish_load((*slices)[i].entry_, false);
    slices->erase(slices->begin() + 1, slices->end());
    error = co_await read_slices(*slices);
  }
  if (error) std::rethrow_exception(error);
  for (const Slice& slice : *slices) finish_load(slice.entry_, true);
}

// Returns the error, if any.
Task<std::exception_ptr> TableCache::read_slices(std::span<const Slice> slices) {
  ++reads_;
  const uint64_t offset = slices.front().entry_->offset;
  std::exception_ptr error;
  try {
    ReadBuffers to;
    for (const Slice& slice : slices) to.append(slice.entry_->buffer.data(), options_.slice_size);
    co_await storage_->events().raise(options_.load_event);
    co_await read_zero_padded(&storage_->file(), offset, std::move(to));
  } catch (const Error& failure) {
    error = std::make_exception_ptr(
        failure.with_hint(fmt::format("'{}': the {} at {:#x} could not be read",
                                      storage_->file().filename(), options_.name, offset)));
  } catch (...) {
    error = std::current_exception();
  }
  co_return error;
}

// A waiter then looks the slice up again.
void TableCache::finish_load(Entry* entry, bool loaded) {
  entry->loaded = loaded;
  Loop::current().schedule_all(&entry->waiting);
  if (loaded) {
    pack(entry);
  } else if (!entry->removed) {
    remove(entry);
  }
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

Task<void> TableCache::make_room(uint64_t bytes) {
  for (int tries = 0; tries < kMakeRoomTriesMax; ++tries) {
    while (memory_ + bytes > memory_max()) {
      Entry* const victim = clean_victim();
      if (victim == nullptr) break;
      remove(victim);
    }
    if (memory_ + bytes <= memory_max() || dirty_count_ == 0) co_return;
    co_await write_back();
  }
}

Task<void> TableCache::invalidate(uint64_t offset, uint64_t length) {
  const Mutex::Guard guard = co_await write_mutex_.lock();
  std::vector<Entry*> gone;
  BYRE_ASSERT(is_aligned(offset, options_.slice_size));
  if (length / options_.slice_size < entries_.size()) {
    for (uint64_t done = 0; done < length; done += options_.slice_size) {
      if (Entry* const entry = find_entry(offset + done); entry != nullptr) gone.push_back(entry);
    }
  } else {
    for (const auto& [place, entry] : entries_) {
      if (place >= offset && place - offset < length) gone.push_back(entry.get());
    }
  }
  for (Entry* const entry : gone) remove(entry);
}

void TableCache::evict_unused() {
  // The most recently used ones are at the other end.
  for (Entry* entry = oldest_; entry != nullptr && entry->generation < generation_;) {
    Entry* const next = entry->newer;
    if (entry->pins == 0 && !entry->dirty && entry->loaded) remove(entry);
    entry = next;
  }
  ++generation_;
}

Task<void> TableCache::invalidate_all() {
  return invalidate(0, UINT64_MAX);
}

}  // namespace byre::qcow2
