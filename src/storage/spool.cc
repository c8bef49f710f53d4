// SPDX-License-Identifier: Apache-2.0
#include "storage/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "async/worker_pool.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"

namespace byre::storage {

namespace {

constexpr size_t kPieceSize = kMiB;
// Zeroes of this length and alignment become a hole.
constexpr size_t kHoleSize = 64 * kKiB;
// How long a silent pipe may delay a request to stop.
constexpr int kPatienceMs = 100;

std::string temporary_folder() {
  const char* folder = std::getenv("TMPDIR");
  if (folder != nullptr && *folder != '\0') return folder;
  // Like QEMU: more space than /tmp, which may be in memory.
  return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp";
}

int open_unnamed(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  // File systems without unnamed files: create one and unlink it at once.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) return -1;
  std::string name = folder + "/byre-XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

struct Received {
  size_t length = 0;
  int error = 0;
  bool at_end = false;
};

// Fills the buffer from the pipe, unless the pipe ends or a stop is requested.
Received receive(int fd, Bytes to, const Cancellation* cancellation) {
  Received result;
  while (result.length < to.size()) {
    if (cancellation != nullptr && cancellation->is_requested()) {
      result.error = ECANCELED;
      return result;
    }
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, kPatienceMs);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t length = ::read(fd, to.data() + result.length, to.size() - result.length);
    if (length > 0) {
      result.length += static_cast<size_t>(length);
    } else if (length == 0) {
      result.at_end = true;
      return result;
    } else if (errno != EINTR && errno != EAGAIN) {
      result.error = errno;
      return result;
    }
  }
  return result;
}

// Writes what is not zero; the rest stays a hole of the new file.
Task<void> store(FileDevice* file, uint64_t offset, ConstBytes bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const size_t start = done;
    size_t end = start;
    while (end < bytes.size()) {
      const size_t part = std::min(kHoleSize, bytes.size() - end);
      if (is_all_zero(bytes.subspan(end, part))) break;
      end += part;
    }
    if (end > start) {
      const WriteBuffers data(bytes.subspan(start, end - start));
      co_await file->write(offset + start, data);
    }
    done = std::min(end + kHoleSize, bytes.size());
  }
}

// A file or device that was given as standard input needs no copy, if it has not been read from
// yet.
bool can_stay_where_it_is(int fd) {
  struct stat status{};
  if (fstat(fd, &status) != 0) return false;
  return (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) && lseek(fd, 0, SEEK_CUR) == 0;
}

}  // namespace

Task<std::unique_ptr<FileDevice>> unnamed_file(std::string filename) {
  const std::string folder = temporary_folder();
  const int fd = open_unnamed(folder);
  if (fd < 0) {
    throw Error::from_errno(errno, fmt::format("Could not create a temporary file in '{}'", folder),
                            ErrorData{.code = "file-temporary-not-created", .file = folder})
        .with_hint("set TMPDIR to use another directory for temporary files");
  }
  // No other process can see it, and it does not outlive a power cut.
  const FileOptions options{.writable = true, .cache = CacheMode::kUnsafe};
  co_return FileDevice::adopt(fd, std::move(filename), options);
}

Task<std::unique_ptr<FileDevice>> spool(int fd, std::string filename,
                                        const Cancellation* cancellation) {
  if (can_stay_where_it_is(fd)) {
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
      throw Error::from_errno(errno, fmt::format("Could not open '{}'", filename),
                              ErrorData{.code = "file-not-opened", .file = filename});
    }
    FileOptions options;
    options.lock = kLockRead;
    co_return FileDevice::adopt(copy, std::move(filename), options);
  }
  std::unique_ptr<FileDevice> file = co_await unnamed_file(filename);
  // Fewer context switches between the two ends; not every pipe can be this large, and it need not
  // be.
  fcntl(fd, F_SETPIPE_SZ, static_cast<int>(kPieceSize));
  Buffer buffer(kPieceSize);
  uint64_t size = 0;
  Received received;
  while (!received.at_end) {
    const auto receive_here = [fd, to = buffer.bytes(), cancellation] {
      return receive(fd, to, cancellation);
    };
    received = co_await WorkerPool::shared().run(receive_here);
    if (received.error != 0) {
      throw Error::from_errno(received.error, fmt::format("Could not read from '{}'", filename),
                              ErrorData{.code = "pipe-read-failed", .file = filename});
    }
    const ConstBytes bytes = buffer.bytes(0, received.length);
    co_await store(file.get(), size, bytes);
    size += received.length;
  }
  co_await file->resize(size, Preallocation::kOff);
  co_return file;
}

}  // namespace byre::storage
