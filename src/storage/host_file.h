// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/ring.h"
#include "async/task.h"
#include "async/worker_pool.h"
#include "block/io_vector.h"
#include "storage/io_backend.h"

namespace byre::storage {

// Owns an open descriptor. Does complete transfers on it that do not block the loop: short
// transfers are continued, interrupted ones repeated, and what would block is passed to the
// io_uring or to worker threads. Knows nothing about sizes, alignment or caches. Errors are
// positive errno values, 0 for success, so that the caller decides what an error means.
class HostFile {
 public:
  struct Options {
    IoBackend backend = IoBackend::kAuto;
    bool inline_io = true;  // first try what can be done inline, without waiting
    // Above 0: opened with O_DIRECT, so every transfer waits for the disk, and starts at a multiple
    // of this.
    uint32_t direct_alignment = 0;
  };

  HostFile(int fd, Options options) : fd_(fd), options_(options) {}
  ~HostFile();
  HostFile(const HostFile&) = delete;
  HostFile& operator=(const HostFile&) = delete;

  int fd() const { return fd_; }

  // The number of bytes that the page cache returned immediately, from the start of `to`; perhaps
  // 0.
  size_t read_cached(uint64_t offset, const ReadBuffers& to);
  // `*done` is the number of bytes read; fewer than requested, without an error, at the end of the
  // file.
  Task<int> read(uint64_t offset, ReadBuffers to, size_t* done);
  // Whether a range of the file was written before.
  enum class Space : uint8_t { kOld, kNew };
  // With `durable`, the bytes and the file's size survive a power cut once it is done. `into`
  // decides about speed alone.
  Task<int> write(uint64_t offset, WriteBuffers from, bool durable, Space into = Space::kOld);
  // fdatasync; inline if the loop has nothing else to do meanwhile.
  Task<int> sync_data();
  // Begins to write what is in the page cache to the disk, and reports nothing.
  Task<void> start_sync();
  // fallocate. Long ranges are passed to a worker.
  Task<int> allocate(int mode, uint64_t offset, uint64_t length);
  // Any other call that may block: `function` returns 0 or a positive errno, on a worker.
  template <class F>
  Task<int> run_blocking(F function) {
    const int error = co_await WorkerPool::shared().run(function);
    co_return error;
  }

  // The descriptor is closed afterwards, whatever it returns.
  int close();

 private:
  // How preadv2 can be called without waiting for a disk.
  enum class CachedReads : uint8_t { kNoWait, kPlain, kNone };

  Ring* ring() const;
  void cannot_tell_what_is_cached();
  bool is_for_worker(size_t size) const;
  Task<int64_t> read_some(uint64_t offset, ReadBuffers to);
  bool waits_for_disk(int flags) const { return is_direct_ || flags != 0; }
  // On the ring, or on a worker thread.
  Task<int64_t> write_elsewhere(uint64_t offset, WriteBuffers from, int flags, Space into);

  int fd_;
  Options options_;
  WorkerPool::Strand changes_;  // of pages in the page cache and of space
  const bool is_direct_ = options_.direct_alignment != 0;
  // With O_DIRECT, RWF_NOWAIT would still wait for the disk.
  CachedReads cached_reads_ =
      options_.inline_io && !is_direct_ ? CachedReads::kNoWait : CachedReads::kNone;
};

}  // namespace byre::storage
