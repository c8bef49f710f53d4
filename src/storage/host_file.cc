// SPDX-License-Identifier: Apache-2.0
#include "storage/host_file.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "async/loop.h"

namespace byre::storage {

namespace {

// Buffered writes of at least this size go to a worker, so that the loop reads and computes
// meanwhile. Below it, copying into the page cache is cheaper than waking a thread. Decision 0004
// has the numbers.
constexpr size_t kWorkerWriteMin = 1 << 20;
// The same limit while workers are already busy: a loop that copies does not feed them.
constexpr size_t kBesideWorkersMin = 256 << 10;
// A large write into space that was never written takes a call for each of this many bytes. The
// kernel allocates memory for it in blocks as large as the call, if it has them; small ones are at
// hand, large ones may have been given back to the host of a virtual machine. Decision 0004 has the
// numbers for this as well.
constexpr size_t kNewCallMax = 32 << 10;
// What was written before is likely to be in the page cache already. Changes of space wait for one
// such call at most.
constexpr size_t kOldCallMax = 1 << 20;
// The maximum of one system call; Linux has a little less than 2 GiB.
constexpr size_t kCallMax = 1 << 30;
// Allocating or freeing longer ranges than this may take a while.
constexpr uint64_t kQuickAllocateMax = 16 << 20;

// As many of the segments as one call accepts.
std::span<const iovec> call_segments(const IoVector& vector) {
  const std::span<const iovec> all = vector.segments();
  return all.first(std::min<size_t>(all.size(), IOV_MAX));
}

bool is_transient(int64_t result) {
  return result == -EINTR || result == -EAGAIN;
}

int64_t result_of(ssize_t returned) {
  return returned < 0 ? -errno : returned;
}

// The number of bytes written, perhaps not all, or a negative errno.
int64_t write_call(int fd, uint64_t offset, const WriteBuffers& from, int flags) {
  const std::span<const iovec> segments = call_segments(from);
  return result_of(pwritev2(fd, segments.data(), static_cast<int>(segments.size()),
                            static_cast<off_t>(offset), flags));
}

size_t call_max(HostFile::Space into) {
  return into == HostFile::Space::kNew ? kNewCallMax : kOldCallMax;
}

// The same with one call per `piece_max` bytes.
int64_t write_in_pieces(int fd, uint64_t offset, const WriteBuffers& from, size_t piece_max) {
  size_t done = 0;
  while (done < from.size()) {
    const size_t size = std::min(from.size() - done, piece_max);
    const int64_t result = write_call(fd, offset + done, from.slice(done, size), 0);
    if (result < 0 && done == 0) return result;
    // An error will occur again for the rest.
    if (result <= 0) break;
    done += static_cast<size_t>(result);
  }
  return static_cast<int64_t>(done);
}

}  // namespace

HostFile::~HostFile() {
  close();
}

int HostFile::close() {
  if (fd_ < 0) return 0;
  // Linux has closed it whatever close() returns; a retry could close another file's descriptor.
  const int error = ::close(std::exchange(fd_, -1)) == 0 ? 0 : errno;
  return error == EINTR ? 0 : error;
}

Ring* HostFile::ring() const {
  return options_.backend == IoBackend::kThreads ? nullptr : Ring::of(Loop::current());
}

size_t HostFile::read_cached(uint64_t offset, const ReadBuffers& to) {
  if (cached_reads_ == CachedReads::kNone) return 0;
  const std::span<const iovec> segments = call_segments(to);
  const int flags = cached_reads_ == CachedReads::kNoWait ? RWF_NOWAIT : 0;
  const ssize_t result = preadv2(fd_, segments.data(), static_cast<int>(segments.size()),
                                 static_cast<off_t>(offset), flags);
  if (result >= 0) return static_cast<size_t>(result);
  if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) return 0;
  cannot_tell_what_is_cached();
  return cached_reads_ == CachedReads::kPlain ? read_cached(offset, to) : 0;
}

// The file system does not support RWF_NOWAIT; asking again would waste a call each time. One that
// is in memory never waits. (tmpfs is one of these in Linux 6.18.)
void HostFile::cannot_tell_what_is_cached() {
  struct statfs status{};
  const bool is_in_memory =
      fstatfs(fd_, &status) == 0 && (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
  const bool may_be_plain = is_in_memory && cached_reads_ == CachedReads::kNoWait;
  cached_reads_ = may_be_plain ? CachedReads::kPlain : CachedReads::kNone;
}

Task<int64_t> HostFile::read_some(uint64_t offset, ReadBuffers to) {
  const std::span<const iovec> segments = call_segments(to);
  const auto count = static_cast<unsigned>(segments.size());
  if (Ring* const on = ring()) {
    const int64_t result = co_await on->readv(fd_, segments.data(), count, offset, 0);
    co_return result;
  }
  const auto read_here = [this, segments, offset] {
    return result_of(preadv(fd_, segments.data(), static_cast<int>(segments.size()),
                            static_cast<off_t>(offset)));
  };
  const int64_t result = co_await WorkerPool::shared().run(read_here);
  co_return result;
}

Task<int> HostFile::read(uint64_t offset, ReadBuffers to, size_t* done) {
  *done = 0;
  while (*done < to.size()) {
    const ReadBuffers rest = to.slice(*done, std::min(to.size() - *done, kCallMax));
    const int64_t result = co_await read_some(offset + *done, rest);
    if (is_transient(result)) continue;
    if (result < 0) co_return static_cast<int>(-result);
    if (result == 0) break;
    *done += static_cast<size_t>(result);
    // Part of a block: the file ends there, and with O_DIRECT its end is not an offset to continue
    // from.
    if (is_direct_ && *done % options_.direct_alignment != 0) break;
  }
  co_return 0;
}

// The kernel lets only one thread at a time write to a file's pages or change its space: a loop
// that came second would spin until the worker is done.
bool HostFile::is_for_worker(size_t size) const {
  return size >= kWorkerWriteMin || changes_.is_busy() ||
         (size >= kBesideWorkersMin && WorkerPool::shared().is_busy());
}

Task<int64_t> HostFile::write_elsewhere(uint64_t offset, WriteBuffers from, int flags, Space into) {
  const auto write_here = [this, offset, &from, flags] {
    return write_call(fd_, offset, from, flags);
  };
  // The kernel does buffered writes of most file systems on a thread of its own; the pool's threads
  // are faster to reach, so the ring is used only if it was requested.
  const bool prefers_ring = waits_for_disk(flags) || options_.backend == IoBackend::kUring;
  if (Ring* const on = prefers_ring ? ring() : nullptr) {
    const std::span<const iovec> segments = call_segments(from);
    const auto count = static_cast<unsigned>(segments.size());
    const int64_t result = co_await on->writev(fd_, segments.data(), count, offset, flags);
    co_return result;
  }
  if (waits_for_disk(flags)) {
    const int64_t result = co_await WorkerPool::shared().run(write_here);
    co_return result;
  }
  const auto write_buffered = [this, offset, &from, into] {
    return write_in_pieces(fd_, offset, from, call_max(into));
  };
  const int64_t result = co_await WorkerPool::shared().run(write_buffered, &changes_);
  co_return result;
}

Task<int> HostFile::write(uint64_t offset, WriteBuffers from, bool durable, Space into) {
  const int flags = durable ? RWF_DSYNC : 0;
  const bool may_be_inline = options_.inline_io && !waits_for_disk(flags);
  bool is_inline = may_be_inline && !is_for_worker(from.size());
  if (may_be_inline && from.size() >= kWorkerWriteMin) {
    // Alone, a large write need not wait until a worker has woken up.
    Loop& loop = Loop::current();
    co_await loop.yield();
    is_inline = loop.is_idle();
  }
  size_t done = 0;
  while (done < from.size()) {
    const WriteBuffers rest = from.slice(done, std::min(from.size() - done, kCallMax));
    int64_t result = 0;
    if (is_inline && rest.size() < kWorkerWriteMin) {
      result = write_call(fd_, offset + done, rest, 0);
    } else if (is_inline) {
      result = write_in_pieces(fd_, offset + done, rest, call_max(into));
    } else {
      result = co_await write_elsewhere(offset + done, rest, flags, into);
    }
    if (is_transient(result)) continue;
    if (result < 0) co_return static_cast<int>(-result);
    size_t written = static_cast<size_t>(result);
    // With O_DIRECT, a partly written block is written again.
    if (is_direct_ && done + written < from.size()) written -= written % options_.direct_alignment;
    // No file system should do this, but it must not cause an endless loop.
    if (written == 0) co_return EIO;
    done += written;
  }
  co_return 0;
}

Task<int> HostFile::sync_data() {
  const auto sync_here = [this] { return fdatasync(fd_) == 0 ? 0 : errno; };
  Loop& loop = Loop::current();
  if (options_.inline_io) co_await loop.yield();
  int error = EINTR;
  while (error == EINTR) {
    if (options_.inline_io && loop.is_idle()) {
      // Nothing else is delayed: neither ring nor worker is woken for it, or created.
      error = sync_here();
    } else if (Ring* const on = ring()) {
      const int64_t result = co_await on->sync_data(fd_);
      error = static_cast<int>(-result);
    } else {
      error = co_await run_blocking(sync_here);
    }
  }
  co_return error;
}

// It may wait for the disk to accept requests. Not on a worker if it can be avoided: busy workers
// change how writes are done.
Task<void> HostFile::start_sync() {
  if (Ring* const on = ring()) {
    co_await on->start_sync(fd_);
    co_return;
  }
  const auto start_here = [this] { return sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE); };
  co_await WorkerPool::shared().run(start_here);
}

Task<int> HostFile::allocate(int mode, uint64_t offset, uint64_t length) {
  const auto allocate_here = [this, mode, offset, length] {
    while (fallocate(fd_, mode, static_cast<off_t>(offset), static_cast<off_t>(length)) != 0) {
      if (errno != EINTR) return errno;
    }
    return 0;
  };
  if (options_.inline_io && length <= kQuickAllocateMax && !changes_.is_busy()) {
    co_return allocate_here();
  }
  const int error = co_await WorkerPool::shared().run(allocate_here, &changes_);
  co_return error;
}

}  // namespace byre::storage
