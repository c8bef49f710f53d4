// SPDX-License-Identifier: Apache-2.0
#include "storage/pipe_sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "async/worker_pool.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"

namespace byre::storage {

namespace {

constexpr uint64_t kZeroPieceSize = kMiB;
constexpr int kPipeSize = 1 << 20;

// Keeps the SIGPIPE that a write of this thread may raise away from the process, within a scope.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;
  ~NoPipeSignal() {
    if (!was_pending_) {
      const timespec now{};
      while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_;
};

int wait_for_room(int fd) {
  pollfd waiting{fd, POLLOUT, 0};
  return ::poll(&waiting, 1, -1) < 0 && errno != EINTR ? errno : 0;
}

// Sends all of it; returns 0 or an errno. Blocks while the pipe is full.
int send_all(int fd, const WriteBuffers& from) {
  const NoPipeSignal scope;
  size_t done = 0;
  while (done < from.size()) {
    const WriteBuffers rest = from.slice(done);
    const auto segments = rest.segments();
    const auto count = static_cast<int>(std::min<size_t>(segments.size(), IOV_MAX));
    const ssize_t result = writev(fd, segments.data(), count);
    if (result >= 0) {
      done += static_cast<size_t>(result);
    } else if (errno == EAGAIN) {
      const int error = wait_for_room(fd);
      if (error != 0) return error;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace

PipeSink::PipeSink(int fd, uint64_t size, std::string filename)
    : fd_(fd), size_(size), filename_(std::move(filename)) {
  limits_.is_zero_initialised = true;
  // A larger pipe means fewer context switches between its two ends; anything but a pipe refuses
  // this, and does not need it.
  fcntl(fd_, F_SETPIPE_SZ, kPipeSize);
}

Task<void> PipeSink::do_read(uint64_t, ReadBuffers) {
  throw Error(ErrorKind::kUnsupported, ENOTSUP,
              ErrorData{.code = "pipe-read-back", .file = filename_}, "a pipe cannot be read back");
  co_return;
}

void PipeSink::take_turn(uint64_t offset, uint64_t length) {
  if (offset < asked_) {
    throw Error(ErrorKind::kUnsupported, ESPIPE,
                ErrorData{.code = "pipe-write-not-sequential",
                          .field = "offset",
                          .value = offset,
                          .bound = asked_,
                          .file = filename_},
                fmt::format("writes to a pipe must be sequential: offset {} comes after a write "
                            "that ended at {}",
                            offset, asked_));
  }
  asked_ = offset + length;
}

Task<void> PipeSink::send(WriteBuffers from) {
  if (failed_) {
    throw Error(ErrorKind::kIo, EPIPE, ErrorData{.code = "pipe-failed-before", .file = filename_},
                "an earlier write failed")
        .with_prefix(fmt::format("Could not write to '{}'", filename_));
  }
  const auto send_here = [fd = fd_, &from] { return send_all(fd, from); };
  const int error = co_await WorkerPool::shared().run(send_here);
  if (error != 0) {
    failed_ = true;
    throw Error::from_errno(error, fmt::format("Could not write to '{}'", filename_),
                            ErrorData{.code = "pipe-write-failed", .file = filename_});
  }
  sent_ += from.size();
}

Task<void> PipeSink::send_zeroes(uint64_t until) {
  if (sent_ >= until) co_return;
  const Buffer zeroes = Buffer::zeroed(std::min(until - sent_, kZeroPieceSize));
  while (sent_ < until) {
    const WriteBuffers piece(zeroes.bytes(0, std::min<uint64_t>(until - sent_, zeroes.size())));
    co_await send(piece);
  }
}

Task<void> PipeSink::do_write(uint64_t offset, WriteBuffers from, WriteFlags) {
  take_turn(offset, from.size());
  const Mutex::Guard guard = co_await sending_.lock();
  co_await send_zeroes(offset);
  co_await send(std::move(from));
}

// The bytes go out with the next write, or at the end.
Task<void> PipeSink::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  take_turn(offset, length);
  co_return;
}

Task<void> PipeSink::do_discard(uint64_t offset, uint64_t length) {
  co_return;
}

Task<void> PipeSink::do_flush() {
  co_return;
}

// What was skipped so far would read as zeroes.
Task<std::vector<Extent>> PipeSink::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  std::vector<Extent> result;
  if (length == 0) co_return result;
  Extent extent{.offset = offset, .length = length, .present = true};
  extent.data = offset < asked_;
  extent.zero = !extent.data;
  if (extent.data) extent.length = std::min(length, asked_ - offset);
  result.push_back(extent);
  co_return result;
}

Task<void> PipeSink::do_resize(uint64_t new_size, Preallocation) {
  if (new_size < asked_) {
    throw Error(ErrorKind::kUnsupported, ESPIPE,
                ErrorData{.code = "pipe-truncated",
                          .field = "size",
                          .value = new_size,
                          .bound = asked_,
                          .file = filename_},
                fmt::format("a pipe cannot be truncated to {} bytes after {} were written",
                            new_size, asked_));
  }
  size_ = new_size;
  co_return;
}

Task<void> PipeSink::do_close() {
  const Mutex::Guard guard = co_await sending_.lock();
  asked_ = size_;
  co_await send_zeroes(size_);
}

}  // namespace byre::storage
