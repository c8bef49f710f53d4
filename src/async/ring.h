// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <atomic>
#include <coroutine>
#include <cstdint>

#include "async/loop.h"

namespace byre {

// The io_uring of a loop: transfers between files and memory that go on while the loop runs other
// coroutines. Made when the first of them is needed, so a program that finds everything in the page
// cache has none. What coroutines ask for in one turn of the loop goes to the kernel in one call.
//
// Awaiting an operation gives what the system call of that name would return, or a negative errno;
// short transfers and EAGAIN are the caller's to deal with. The segments and the memory stay
// put until it is done.
class Ring final : public EventSource {
 public:
  // The ring of this loop, made now if need be; nullptr where the host refuses it (a container's
  // filter, an old kernel, a limit) or the loop is simulated. A refusal is remembered for the
  // process.
  static Ring* of(Loop& loop);
  // The errno of that refusal; 0: none yet.
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
    enum class Kind : uint8_t { kReadv, kWritev, kSync };
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

  // As preadv2 and pwritev2; `count` at most IOV_MAX.
  Operation readv(int fd, const iovec* segments, unsigned count, uint64_t offset, int flags);
  Operation writev(int fd, const iovec* segments, unsigned count, uint64_t offset, int flags);
  // As fdatasync.
  Operation sync_data(int fd);

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
  // wake() was called and the loop has not looked since.
  std::atomic<bool> woken_{false};
  // The loop sleeps or is about to: wake() must write to wake_fd_.
  std::atomic<bool> sleeping_{false};
};

}  // namespace byre
