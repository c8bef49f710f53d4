// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <atomic>
#include <coroutine>
#include <cstdint>

#include "async/loop.h"

namespace byre {

// The io_uring of a loop: transfers between files and memory that run while the loop runs other
// coroutines. Created when first needed, so a program that finds everything in the page cache has
// none. The operations that coroutines request in one turn of the loop are submitted in one system
// call.
//
// Awaiting an operation returns what the system call of that name would return, or a negative
// errno; short transfers and EAGAIN are for the caller to handle. The segments and the memory must
// stay valid until it is done.
class Ring final : public EventSource {
 public:
  // The ring of this loop, created now if necessary; nullptr if the host refuses it (a container's
  // filter, an old kernel, a limit) or the loop is simulated. A refusal is remembered for the
  // process.
  static Ring* of(Loop& loop);
  // The errno of that refusal; 0 if there has been none.
  static int refusal();

  ~Ring() override;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  class Operation {
   public:
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self);
    int64_t await_resume() const noexcept { return result_; }

   private:
    friend Ring;
    enum class Kind : uint8_t { kReadv, kWritev, kSync, kStartSync };
    Ring* ring_ = nullptr;
    Kind kind_ = Kind::kReadv;
    int fd_ = -1;
    int flags_ = 0;
    const iovec* segments_ = nullptr;
    unsigned count_ = 0;
    uint64_t offset_ = 0;
    int64_t result_ = 0;
    Waiter waiting_;
  };

  // Like preadv2 and pwritev2; `count` at most IOV_MAX.
  Operation readv(int fd, const iovec* segments, unsigned count, uint64_t offset, int flags);
  Operation writev(int fd, const iovec* segments, unsigned count, uint64_t offset, int flags);
  // Like fdatasync.
  Operation sync_data(int fd);
  // Like sync_file_range(SYNC_FILE_RANGE_WRITE) of the whole file.
  Operation start_sync(int fd);

  void poll(bool block) override;
  void wake() override;

 private:
  explicit Ring(Loop* loop) : loop_(loop) {}
  int open();
  void queue(Operation* operation);
  io_uring_sqe* next_entry();
  void take_completions();
  void sleep();

  Loop* loop_;
  io_uring ring_{};
  bool is_open_ = false;
  int wake_fd_ = -1;
  bool wake_armed_ = false;
  // wake() was called and the loop has not yet noticed.
  std::atomic<bool> woken_{false};
  // The loop is sleeping or about to: wake() must write to wake_fd_.
  std::atomic<bool> sleeping_{false};
};

}  // namespace byre
