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
// aligned part of a cluster, so that a random access reads 16 KiB and not a 2 MiB cluster. Owned by
// the image, used on its loop.
//
// A pinned slice stays in memory. Pinned slices are read and changed in place, between two awaits,
// and then marked dirty; write_back() writes dirty slices, or an eviction does so earlier. Until
// then a change is visible in memory only. A write first copies the slice, so the slice may be
// changed again while it is being written.
//
// A slice of an L2 table whose entries form few stretches is kept in that packed form, in a few
// hundred bytes, until a caller changes it: so the mapping of a disk that was mostly written in
// order fits in memory, however large it is.
//
// Order: before any slice of this cache is written, what it depends on is written and flushed (see
// depend_on() and depend_on_flush()). write_back() itself does not flush the file afterwards.
//
// Failures: a failed read leaves no trace; a slice whose write fails stays dirty, and the error
// goes to the caller that needed the write.
class TableCache {
  struct Entry;

 public:
  struct Options {
    const char* name = "";    // "L2 table", "refcount block": for messages
    uint32_t slice_size = 0;  // power of two, at least 512
    uint64_t slices_max = 2;  // memory limit, in unpacked slices; exceeded only by pinned ones
    const layout::Geometry* l2_geometry = nullptr;    // for L2 tables, which may be kept packed
    DebugEvent load_event = DebugEvent::kL2Load;      // raised before a slice is read
    DebugEvent update_event = DebugEvent::kL2Update;  // raised before slices are written
  };

  // A pinned slice. Movable; stays pinned until this object is destroyed or released.
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
    // The slice's offset in the file, in bytes.
    uint64_t offset() const;
    // The slice's bytes as stored on disk (big-endian), valid while pinned. This unpacks a packed
    // slice, so prefer l2_entry() and l2_stretch() for only reading an L2 table. The first call may
    // throw Error(kNoMemory), later ones do not.
    Bytes bytes() const;
    // For L2 tables: one entry, and the stretch of at most `count_max` entries that begins there.
    layout::L2Entry l2_entry(uint32_t index) const { return l2_stretch(index, 1).first; }
    layout::L2Stretch l2_stretch(uint32_t index, uint32_t count_max) const;
    // Call after a change, before the next await. The slice will be written.
    void mark_dirty() const;
    bool is_dirty() const;
    // Whether the file is known to have space for the slice: see reserve_space().
    bool has_space() const;
    void release();

   private:
    friend class TableCache;
    Slice(TableCache* cache, Entry* entry);
    TableCache* cache_ = nullptr;
    Entry* entry_ = nullptr;
  };

  // For tables in the file of `storage`, which must outlive the cache.
  TableCache(const Storage* storage, Options options);
  ~TableCache();
  TableCache(const TableCache&) = delete;
  TableCache& operator=(const TableCache&) = delete;

  uint32_t slice_size() const { return options_.slice_size; }

  // The slice at `offset` (aligned to slice_size()) if it is in memory, else an empty Slice. The
  // hot path: no I/O, no allocation.
  Slice find(uint64_t offset);
  // The same, but reads the slice from the file if it is not in memory. Bytes past the end of the
  // file are zeroes. Two callers that miss the same slice share one read. A read also loads the
  // slices that follow, as far as `length` bytes from `offset` reach; a failure to read those is
  // ignored.
  Task<Slice> get(uint64_t offset, uint64_t length = 0);
  // A slice of a new table: zeroes, dirty, nothing is read. Replaces what was cached there.
  // REQUIRES: the caller has allocated the table's clusters.
  Task<Slice> get_new(uint64_t offset);
  // Call before a slice is changed: allocates the file space that writing it back needs, which a
  // sparse file may lack, so that no change is lost on a full disk. Throws Error(kNoSpace).
  Task<void> reserve_space(const Slice& slice);

  // Writes every slice that was dirty when it was called, after what the slices depend on; adjacent
  // slices in one write. Not durable before the file is flushed. If a write fails, its slices stay
  // dirty.
  Task<void> write_back();
  // As write_back(), for slices in [offset, offset + length) only.
  Task<void> write_back_range(uint64_t offset, uint64_t length);

  // From now until `other` has been written back and the file flushed, no slice of this cache is
  // written. When the call returns, the dependency is in force and no other coroutine has run
  // since: mark slices dirty before the next await. May itself write `other` back, if the opposite
  // dependency was in force.
  Task<void> depend_on(TableCache& other);
  // The same for data: the external data file, if there is one, and the file are flushed first.
  void depend_on_flush() {
    flush_needed_ = true;
    ++dependency_changes_;
  }

  // Sets a function that is called with each failed write, and each failed flush before a write,
  // before the caller that needed the write gets the error. After a failed flush the state on disk
  // is unknown.
  void set_on_failure(std::function<void(const Error&, Health::Operation)> on_failure) {
    on_failure_ = std::move(on_failure);
  }

  // Sets a function that is called before each write of a range of the file; if it throws, the
  // write fails with that error.
  void set_before_write(std::function<void(uint64_t offset, uint64_t length)> before_write) {
    before_write_ = std::move(before_write);
  }

  // Drops the slices in the range without writing them: the table there has been freed. Waits for
  // writes of them that are in flight, so that these cannot overwrite what uses the clusters next.
  // A caller that has one of them pinned keeps its bytes, which are no longer part of the cache.
  Task<void> invalidate(uint64_t offset, uint64_t length);
  // Drops the slices that have not been requested since the last call. Dirty and pinned slices
  // stay.
  void evict_unused();
  // Drops everything, dirty or not: the tables in the file were changed without the cache.
  Task<void> invalidate_all();

  // A slice is dirty or being written; write_back() then waits for that write.
  bool has_dirty() const { return dirty_count_ > 0 || write_mutex_.is_locked(); }
  // Asserts that what the cache records about its slices is consistent. For tests, at any moment
  // between two awaits; takes as long as a walk over all slices.
  void check() const;
  // For tests and statistics: slices in memory and the bytes that they take; reads and writes of
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
  // Evicts until there is room for that many more bytes, or everything left is pinned.
  Task<void> make_room(uint64_t bytes);
  Entry* clean_victim() const;
  Entry* insert(uint64_t offset);
  // Inserts the slices of the range, up to the first one that is already in memory.
  std::vector<Slice> insert_missing(uint64_t offset, uint64_t length);
  Buffer take_buffer();
  void give_back(Buffer buffer);
  void pack(Entry* entry);
  void unpack(Entry* entry);
  // Removes the entry from entries_; it is freed at once, or with its last pin.
  void remove(Entry* entry);
  static void unpin(Entry* entry);
  // `slices` are adjacent; only the first one has to be read successfully. If this throws, the
  // caller must finish the slices that are left in `slices` and not loaded.
  Task<void> load(std::vector<Slice>* slices);
  Task<std::exception_ptr> read_slices(std::span<const Slice> slices);
  void finish_load(Entry* entry, bool loaded);
  static Task<void> wait_until_loaded(Entry* entry);
  std::vector<Entry*> dirty_entries(uint64_t offset, uint64_t length) const;
  // Writes the contents that these entries have at the call.
  // REQUIRES: the caller holds write_mutex_.
  Task<void> write_batch(std::span<Entry* const> batch);
  Task<void> write_run(Run* run);
  // Satisfies the dependencies that were set before the call.
  Task<void> satisfy_dependencies();
  // The same.
  // REQUIRES: the caller holds write_mutex_.
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
  uint64_t memory_ = 0;  // bytes, of entries_
  uint64_t dirty_count_ = 0;
  uint64_t generation_ = 0;  // the count of calls of evict_unused()
  uint64_t reads_ = 0;
  uint64_t writes_ = 0;

  // One write-back at a time, so that an older copy never overwrites a newer one.
  Mutex write_mutex_;
  TableCache* depends_on_ = nullptr;
  bool flush_needed_ = false;
  uint64_t dependency_changes_ = 0;  // how often one of the two above was set
  // The value of dependency_changes_ up to which they are satisfied.
  uint64_t dependencies_satisfied_ = 0;
};

}  // namespace byre::qcow2
