// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "block/block_device.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "qcow2/core/health.h"
#include "qcow2/core/storage.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/l2_stretch.h"

namespace byre::qcow2 {

// Slices of one kind of metadata table (L2 tables, refcount blocks) in memory. A slice is an
// aligned piece of a cluster, so that a random access reads 16 KiB and not a 2 MiB cluster. Owned
// by the image, used on its loop.
//
// A slice that somebody pins stays in memory. Pinned slices are read and changed in place, between
// two awaits, and then marked dirty; what was marked is written by write_back(), or earlier when
// its place is needed for another slice. Until then it is visible in memory only. A write takes a
// copy of the slice first, so it may be changed again while it is being written.
//
// A slice of an L2 table whose entries make few stretches is kept as those, in a few hundred bytes,
// until somebody wants to change it: so the mapping of a disk that was mostly written in order is
// in memory as a whole, however big it is.
//
// Order: before any slice of this cache is written, what it depends on is written and flushed (see
// depend_on() and depend_on_flush()). write_back() itself does not flush the file afterwards.
//
// Failures: a read that fails leaves nothing behind; a slice whose write fails stays dirty, and the
// error reaches whoever needed the write.
class TableCache {
  struct Entry;

 public:
  struct Options {
    const char* name = "";    // "L2 table", "refcount block": for messages
    uint32_t slice_size = 0;  // power of two, at least 512
    uint64_t slices_max = 2;  // whole ones in memory; more only while that many are pinned at once
    const layout::Geometry* l2_geometry = nullptr;    // of L2 tables, which may be kept packed
    DebugEvent load_event = DebugEvent::kL2Load;      // raised before a slice is read
    DebugEvent update_event = DebugEvent::kL2Update;  // before slices are written
  };

  // A pinned slice. Movable; pins until it is destroyed or released.
  class Slice {
   public:
    Slice() = default;
    Slice(Slice&& other) noexcept
        : cache_(std::exchange(other.cache_, nullptr)),
          entry_(std::exchange(other.entry_, nullptr)) {}
    Slice& operator=(Slice&& other) noexcept {
      std::swap(cache_, other.cache_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Slice() { release(); }

    explicit operator bool() const { return entry_ != nullptr; }
    // In the file, in bytes.
    uint64_t offset() const;
    // The slice's bytes as they stand on disk (big-endian), valid while pinned. A packed slice is
    // unpacked for it, so who only reads an L2 table had better ask for its entries. May throw
    // Error(kNoMemory), but not a second time.
    Bytes bytes() const;
    // Of an L2 table: one entry, and the stretch of at most `count_max` entries that begins there.
    layout::L2Entry l2_entry(uint32_t index) const { return l2_stretch(index, 1).first; }
    layout::L2Stretch l2_stretch(uint32_t index, uint32_t count_max) const;
    // After a change, before the next await. The slice will be written.
    void mark_dirty() const;
    bool is_dirty() const;
    // Whether the file is known to have space for it: see reserve_space().
    bool has_space() const;
    void release();

   private:
    friend class TableCache;
    Slice(TableCache* cache, Entry* entry);
    TableCache* cache_ = nullptr;
    Entry* entry_ = nullptr;
  };

  // Of tables in the file of `storage`, which outlives the cache.
  TableCache(const Storage* storage, Options options);
  ~TableCache();
  TableCache(const TableCache&) = delete;
  TableCache& operator=(const TableCache&) = delete;

  uint32_t slice_size() const { return options_.slice_size; }

  // The slice at `offset` (aligned to slice_size()) if it is in memory, else an empty Slice. No
  // I/O, no allocation: the hot path.
  Slice find(uint64_t offset);
  // The same, read from the file where it is not in memory. Bytes past the end of the file are
  // zeroes. Two callers that miss the same slice share one read. Where it must be read, slices
  // behind it come along in the same read, as far as `length` bytes from offset reach; that these
  // cannot be read is no failure.
  Task<Slice> get(uint64_t offset, uint64_t length = 0);
  // A slice of a table that is new: zeroes, dirty, nothing read. Replaces what was cached there.
  // The caller has taken the space of the table.
  Task<Slice> get_new(uint64_t offset);
  // Before a slice is changed: takes the space that writing it back needs, which a file with holes
  // may lack, so that no change is lost on a full disk. Throws Error(kNoSpace).
  Task<void> reserve_space(const Slice& slice);

  // Writes every slice that was dirty when it was called, after what they depend on, neighbours in
  // one write. Not durable before the file is flushed. The slices of a failed write stay dirty.
  Task<void> write_back();
  // As write_back(), for slices in [offset, offset + length) only.
  Task<void> write_back_range(uint64_t offset, uint64_t length);

  // From now until `other` has been written back and the file flushed, no slice of this cache is
  // written. When it returns, the rule stands and nothing ran in between: mark dirty before the
  // next await. May itself write `other` back, where the opposite rule was in force.
  Task<void> depend_on(TableCache& other);
  // The same for data: the external data file, if there is one, and the file are flushed first.
  void depend_on_flush() {
    flush_needed_ = true;
    ++dependency_changes_;
  }

  // Told of each write, and of each flush before one, that failed, before the error reaches whoever
  // needed the write. After a flush that failed nobody knows what is on disk.
  void set_on_failure(std::function<void(const Error&, Health::Operation)> on_failure) {
    on_failure_ = std::move(on_failure);
  }

  // Asked before each write of a range of the file; what it throws is the write's failure.
  void set_before_write(std::function<void(uint64_t offset, uint64_t length)> before_write) {
    before_write_ = std::move(before_write);
  }

  // Forgets the slices in the range without writing them: the table there has been freed. Waits for
  // writes of them that are under way, so that these cannot hit whatever uses the place next. Who
  // has one pinned keeps his bytes, which belong to nothing from then on.
  Task<void> invalidate(uint64_t offset, uint64_t length);
  // Forgets what nobody has asked for since the last call. What is dirty or pinned stays.
  void evict_unused();
  // Forgets everything, dirty or not: after the tables were changed behind the cache's back.
  Task<void> invalidate_all();

  // A slice waits to be written, or is being written: then write_back() waits for that.
  bool has_dirty() const { return dirty_count_ > 0 || write_mutex_.is_locked(); }
  // Asserts that what the cache knows about its slices is consistent. For tests, at any moment
  // between two awaits; the time is that of a walk over all slices.
  void check() const;
  // For tests and statistics: slices in memory and the bytes that they take, reads and writes of
  // the file so far.
  uint64_t slices() const { return entries_.size(); }
  uint64_t memory() const { return memory_; }
  uint64_t reads() const { return reads_; }
  uint64_t writes() const { return writes_; }

 private:
  using Entries = std::unordered_map<uint64_t, std::unique_ptr<Entry>>;

  struct Run;

  Entry* find_entry(uint64_t offset) const;
  void make_newest(Entry* entry);
  void unlink(Entry* entry);
  void push_front(Entry* entry);
  void set_dirty(Entry* entry, bool dirty);
  uint64_t memory_max() const { return options_.slices_max * options_.slice_size; }
  static uint64_t memory_of(const Entry& entry);
  // Evicts until there is room for so many more bytes, or all are pinned.
  Task<void> make_room(uint64_t bytes);
  Entry* clean_victim() const;
  Entry* insert(uint64_t offset);
  // The slices of the range, up to the first that is in memory already.
  std::vector<Slice> insert_missing(uint64_t offset, uint64_t length);
  Buffer take_buffer();
  void give_back(Buffer buffer);
  void pack(Entry* entry);
  void unpack(Entry* entry);
  // Out of entries_; freed at once, or with the last pin.
  void remove(Entry* entry);
  static void unpin(Entry* entry);
  // Neighbours; only the first one has to succeed. What is left in `slices` and not loaded when it
  // throws is the caller's to finish.
  Task<void> load(std::vector<Slice>* slices);
  Task<std::exception_ptr> read_slices(std::span<const Slice> slices);
  void finish_load(Entry* entry, bool loaded);
  static Task<void> wait_until_loaded(Entry* entry);
  std::vector<Entry*> dirty_entries(uint64_t offset, uint64_t length) const;
  // Writes what stood in these entries at its start. The caller holds write_mutex_.
  Task<void> write_batch(std::span<Entry* const> batch);
  Task<void> write_run(Run* run);
  // Fulfils the rules that were set before the call.
  Task<void> satisfy_dependencies();
  // The same. REQUIRES: the caller holds write_mutex_.
  Task<void> satisfy_dependencies_locked();
  void report_failure(const std::exception_ptr& error, Health::Operation operation) const;

  const Storage* storage_;
  std::function<void(const Error&, Health::Operation)> on_failure_;
  std::function<void(uint64_t, uint64_t)> before_write_;
  Options options_;
  Entries entries_;
  Entry* newest_ = nullptr;  // least recently used last
  Entry* oldest_ = nullptr;
  std::vector<Buffer> spare_;
  uint64_t memory_ = 0;  // of entries_
  uint64_t dirty_count_ = 0;
  uint64_t generation_ = 0;  // the count of calls of evict_unused()
  uint64_t reads_ = 0;
  uint64_t writes_ = 0;

  Mutex write_mutex_;  // one write-back at a time, so that an older copy never lands last
  TableCache* depends_on_ = nullptr;
  bool flush_needed_ = false;
  uint64_t dependency_changes_ = 0;  // how often one of the two above was set
  uint64_t dependencies_satisfied_ =
      0;  // the value of dependency_changes_ up to which they are fulfilled
};

}  // namespace byre::qcow2
