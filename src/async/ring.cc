// SPDX-License-Identifier: Apache-2.0
#include "async/ring.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "byre/error.h"

namespace byre {

namespace {

// Requests in excess of these wait in the caller's order; the kernel keeps completions that do not
// fit.
constexpr unsigned kEntries = 128;

std::atomic<int> refused{0};

}  // namespace

int Ring::refusal() {
  return refused.load(std::memory_order_relaxed);
}

Ring* Ring::of(Loop& loop) {
  // A loop has one source of events; if it already has another one, there is no ring.
  if (EventSource* source = loop.event_source()) return dynamic_cast<Ring*>(source);
  if (loop.is_simulated() || refusal() != 0) return nullptr;
  std::unique_ptr<Ring> ring(new Ring(&loop));
  const int error = ring->open();
  if (error != 0) {
    refused.store(error, std::memory_order_relaxed);
    return nullptr;
  }
  Ring* const result = ring.get();
  loop.set_event_source(std::move(ring));
  return result;
}

int Ring::open() {
  io_uring_params params{};
  // The loop itself collects completions, so the kernel need not interrupt it for them.
  params.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  int result = io_uring_queue_init_params(kEntries, &ring_, &params);
  if (result == -EINVAL) {
    params = {};
    result = io_uring_queue_init_params(kEntries, &ring_, &params);
  }
  if (result < 0) return -result;
  is_open_ = true;
  // Without this feature the kernel may drop completions, and requests would never end.
  if ((params.features & IORING_FEAT_NODROP) == 0) return ENOSYS;
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return wake_fd_ < 0 ? errno : 0;
}

Ring::~Ring() {
  if (is_open_) io_uring_queue_exit(&ring_);
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

Ring::Operation Ring::readv(int fd, const iovec* segments, unsigned count, uint64_t offset,
                            int flags) {
  Operation operation;
  operation.ring_ = this;
  operation.kind_ = Operation::Kind::kReadv;
  operation.fd_ = fd;
  operation.segments_ = segments;
  operation.count_ = count;
  operation.offset_ = offset;
  operation.flags_ = flags;
  return operation;
}

Ring::Operation Ring::writev(int fd, const iovec* segments, unsigned count, uint64_t offset,
                             int flags) {
  Operation operation = readv(fd, segments, count, offset, flags);
  operation.kind_ = Operation::Kind::kWritev;
  return operation;
}

Ring::Operation Ring::sync_data(int fd) {
  Operation operation;
  operation.ring_ = this;
  operation.kind_ = Operation::Kind::kSync;
  operation.fd_ = fd;
  return operation;
}

Ring::Operation Ring::start_sync(int fd) {
  Operation operation = sync_data(fd);
  operation.kind_ = Operation::Kind::kStartSync;
  return operation;
}

void Ring::Operation::await_suspend(std::coroutine_handle<> self) {
  waiting_.coroutine = self;
  ring_->queue(this);
}

void Ring::queue(Operation* operation) {
  io_uring_sqe* const entry = next_entry();
  switch (operation->kind_) {
    case Operation::Kind::kReadv:
      io_uring_prep_readv2(entry, operation->fd_, operation->segments_, operation->count_,
                           operation->offset_, operation->flags_);
      break;
    case Operation::Kind::kWritev:
      io_uring_prep_writev2(entry, operation->fd_, operation->segments_, operation->count_,
                            operation->offset_, operation->flags_);
      break;
    case Operation::Kind::kSync:
      io_uring_prep_fsync(entry, operation->fd_, IORING_FSYNC_DATASYNC);
      break;
    case Operation::Kind::kStartSync:
      io_uring_prep_sync_file_range(entry, operation->fd_, 0, 0, SYNC_FILE_RANGE_WRITE);
      break;
  }
  io_uring_sqe_set_data(entry, operation);
  loop_->operation_started();
}

io_uring_sqe* Ring::next_entry() {
  while (true) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    if (entry != nullptr) return entry;
    // The queue is full. The kernel accepts what is in it, unless too many completions are waiting
    // (EBUSY) or memory is temporarily short (EAGAIN): completed requests make room.
    const int result = io_uring_submit(&ring_);
    if (result < 0 && result != -EBUSY && result != -EAGAIN && result != -EINTR) {
      throw Error::from_errno(-result, "io_uring submission failed");
    }
    take_completions();
  }
}

void Ring::take_completions() {
  io_uring_cqe* completion = nullptr;
  while (io_uring_peek_cqe(&ring_, &completion) == 0) {
    auto* const operation = static_cast<Operation*>(io_uring_cqe_get_data(completion));
    const int result = completion->res;
    io_uring_cqe_seen(&ring_, completion);
    if (operation == nullptr) {
      // wake_fd_ became readable.
      wake_armed_ = false;
      uint64_t ignored;
      while (::read(wake_fd_, &ignored, sizeof ignored) < 0 && errno == EINTR) {
      }
      continue;
    }
    operation->result_ = result;
    loop_->operation_finished();
    loop_->schedule(&operation->waiting_);
  }
}

void Ring::poll(bool block) {
  if (block) {
    sleep();
  } else {
    // What the kernel does not accept now stays queued for the next submission.
    io_uring_submit(&ring_);
  }
  take_completions();
}

// Sleeps until there is a completion or wake() was called. The two flags cross: either wake() sees
// that the loop sleeps and writes to wake_fd_, or the loop sees that it was woken and does not
// sleep.
void Ring::sleep() {
  if (!wake_armed_) {
    io_uring_sqe* const entry = next_entry();
    io_uring_prep_poll_add(entry, wake_fd_, POLLIN);
    io_uring_sqe_set_data(entry, nullptr);
    wake_armed_ = true;
  }
  sleeping_.store(true);
  if (woken_.exchange(false)) {
    io_uring_submit(&ring_);
  } else {
    // An interruption or a temporary refusal ends the sleep; the loop polls and sleeps again.
    io_uring_submit_and_wait(&ring_, 1);
  }
  sleeping_.store(false);
  // An exchange, not a store: it makes what the waking thread posted visible to the loop.
  woken_.exchange(false);
}

void Ring::wake() {
  if (woken_.exchange(true) || !sleeping_.load()) return;
  const uint64_t one = 1;
  while (::write(wake_fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

}  // namespace byre
