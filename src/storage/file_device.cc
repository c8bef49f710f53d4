// SPDX-License-Identifier: Apache-2.0
#include "storage/file_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/cdrom.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"

namespace byre::storage {

namespace {

// Zero bytes are written in transfers of this size.
constexpr uint64_t kZeroPieceSize = kMiB;
// Answers of extents() stay small.
constexpr size_t kExtentsMax = 64;

}  // namespace

FileDevice::FileDevice(int fd, std::string filename, FileOptions options, const FileFacts& facts,
                       HostFile::Options io)
    : filename_(std::move(filename)),
      options_(options),
      identity_(facts.identity),
      driver_(facts.driver),
      is_host_device_(facts.is_host_device),
      has_medium_(facts.driver != HostDriver::kHostCdrom),
      size_(facts.size),
      file_(fd, io),
      space_(&file_, facts.is_block_device, std::max(facts.space_alignment, 1u),
             facts.untouched_from) {
  limits_.request_alignment = facts.request_alignment;
  limits_.memory_alignment = facts.memory_alignment;
  limits_.can_write_zeroes_unmapped = options.writable;
  limits_.is_zero_initialised = !is_host_device_;
  limits_.grows = !is_host_device_;
  if (is_direct(options.cache)) {
    direct_.emplace(&file_, &ranges_, &size_, facts.request_alignment, facts.memory_alignment);
  }
}

FileDevice::~FileDevice() = default;

void FileDevice::set_lock(LockPermissions permissions) {
  if (options_.force_share) return;
  change_lock(file_.fd(), filename_, locked_, permissions, options_.requires_locks);
  locked_ = permissions;
}

bool FileDevice::add_lock(LockPermissions permissions) {
  set_lock({static_cast<uint8_t>(locked_.held | permissions.held),
            static_cast<uint8_t>(locked_.unshared | permissions.unshared)});
  return true;
}

std::optional<HostRange> FileDevice::host_range(uint64_t offset, uint64_t length) {
  if (!range_fits(offset, length, size_)) return std::nullopt;
  return HostRange{file_.fd(), offset};
}

// A disc may be inserted at any time. Its removal is reported by the host itself.
void FileDevice::check_medium() {
  if (has_medium_) return;
  has_medium_ = ioctl(file_.fd(), CDROM_DRIVE_STATUS, CDSL_CURRENT) == CDS_DISC_OK;
  if (has_medium_) return;
  throw Error(ErrorKind::kIo, ENOMEDIUM, ErrorData{.code = "file-no-medium", .file = filename_},
              "there is no disc in the drive");
}

bool FileDevice::is_durable(WriteFlags flags) const {
  if (options_.cache == CacheMode::kUnsafe) return false;
  return is_write_through(options_.cache) || has_flag(flags, WriteFlags::kFua);
}

// Another process, for example a running virtual machine, may have extended the file since it was
// opened.
void FileDevice::refresh_size() {
  struct stat status{};
  if (is_host_device_ || fstat(file_.fd(), &status) != 0) return;
  size_ = std::max(size_, static_cast<uint64_t>(status.st_size));
}

void FileDevice::fail(int error, Literal code, const char* what, uint64_t offset,
                      uint64_t length) const {
  const ErrorData data{
      .code = code, .field = "length", .value = length, .offset = offset, .file = filename_};
  throw Error(Error::kind_of(error), error, data,
              fmt::format("{} ({} bytes at offset {})", errno_text(error), length, offset))
      .with_prefix(fmt::format("Could not {} '{}'", what, filename_));
}

Task<void> FileDevice::do_read(uint64_t offset, ReadBuffers to) {
  check_medium();
  if (to.size() == 0) co_return;
  size_t done = file_.read_cached(offset, to);
  if (done == to.size()) co_return;
  const ReadBuffers rest = to.slice(done);
  size_t more = 0;
  int error = 0;
  if (direct_) {
    error = co_await direct_->read(offset + done, rest, &more);
  } else {
    error = co_await file_.read(offset + done, rest, &more);
  }
  if (error != 0) fail(error, "file-read-failed", "read from", offset + done, rest.size());
  // Truncated by another process, or the last part of a block.
  if (more < rest.size()) rest.slice(more).fill_zero();
}

Task<int> FileDevice::write_bytes(uint64_t offset, WriteBuffers from, bool durable) {
  const bool is_into_new_space = space_.note_write(offset, from.size());
  if (direct_) return direct_->write(offset, std::move(from), durable);
  const bool may_prepare = is_into_new_space && !durable;
  if (!may_prepare && offset + from.size() <= size_) {
    return file_.write(offset, std::move(from), durable);
  }
  return write_to_new_space(offset, std::move(from), durable, may_prepare);
}

Task<int> FileDevice::write_to_new_space(uint64_t offset, WriteBuffers from, bool durable,
                                         bool may_prepare) {
  const uint64_t end = offset + from.size();
  if (may_prepare) co_await space_.prepare(offset, from.size());
  RangeLock::Guard guard;
  // A file: a device of the host does not grow.
  if (end > size_) {
    guard = co_await ranges_.acquire(offset, end - offset, RangeLock::Mode::kShared);
  }
  const HostFile::Space into = may_prepare ? HostFile::Space::kNew : HostFile::Space::kOld;
  const int error = co_await file_.write(offset, std::move(from), durable, into);
  if (error == 0) size_ = std::max(size_, end);
  co_return error;
}

Task<void> FileDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  check_medium();
  const size_t length = from.size();
  if (length == 0) co_return;
  const NotedWrite noted(this, offset + length);
  const bool durable = is_durable(flags);
  const int error = co_await write_bytes(offset, std::move(from), durable);
  if (error != 0) fail(error, "file-write-failed", "write to", offset, length);
  if (!durable) ++writes_done_;
}

Task<void> FileDevice::do_flush() {
  return make_durable();
}

Task<void> FileDevice::make_durable() {
  if (options_.cache == CacheMode::kUnsafe || is_read_only()) co_return;
  const Mutex::Guard guard = co_await flush_mutex_.lock();
  if (flush_error_ != 0) fail(flush_error_, "file-flush-failed", "flush", 0, size_);
  if (writes_done_ == writes_flushed_) co_return;
  const uint64_t writes = writes_done_;
  const int error = co_await file_.sync_data();
  // A character device has nothing to sync.
  if (error != 0 && !(is_host_device_ && error == EINVAL)) {
    if (!direct_) flush_error_ = error;
    fail(error, "file-flush-failed", "flush", 0, size_);
  }
  writes_flushed_ = std::max(writes_flushed_, writes);
}

// One at a time: it goes on with what is written meanwhile.
Task<void> FileDevice::do_start_flush() {
  const bool has_work =
      options_.cache != CacheMode::kUnsafe && !direct_ && writes_done_ != writes_flushed_;
  if (!has_work || is_starting_flush_) co_return;
  is_starting_flush_ = true;
  co_await file_.start_sync();
  is_starting_flush_ = false;
}

Task<int> FileDevice::write_zero_bytes(uint64_t offset, uint64_t length, bool durable) {
  const Buffer zeroes = Buffer::zeroed(std::min(length, kZeroPieceSize));
  for (uint64_t done = 0; done < length;) {
    const uint64_t part = std::min<uint64_t>(length - done, zeroes.size());
    const WriteBuffers piece(zeroes.bytes(0, part));
    const int error = co_await write_bytes(offset + done, piece, durable);
    if (error != 0) co_return error;
    done += part;
  }
  co_return 0;
}

// Makes bytes inside the file read as zeroes, in the way that is cheapest for the host.
Task<int> FileDevice::zero_inside(uint64_t offset, uint64_t length, bool may_unmap,
                                  bool may_write) {
  if (length == 0) co_return 0;
  const uint64_t start = align_up(offset, space_.alignment());
  const uint64_t until = align_down(offset + length, space_.alignment());
  const bool has_edges = start != offset || until != offset + length;
  if (start < until && (may_write || !has_edges)) {
    RangeLock::Guard guard =
        co_await ranges_.acquire(start, until - start, RangeLock::Mode::kShared);
    const int error = co_await space_.zero(start, until - start, may_unmap, may_write);
    guard.release();
    if (error == 0 && !has_edges) co_return 0;
    if (error == 0) {
      // Only parts of blocks remain to be written.
      const int head_error = co_await write_zero_bytes(offset, start - offset, false);
      if (head_error != 0) co_return head_error;
      const int tail_error = co_await write_zero_bytes(until, offset + length - until, false);
      co_return tail_error;
    }
    // Some return EINVAL for a range that they do not accept; bytes can still be written.
    if (error != EOPNOTSUPP && error != EINVAL) co_return error;
  }
  if (!may_write) co_return EOPNOTSUPP;
  const int error = co_await write_zero_bytes(offset, length, false);
  co_return error;
}

// The same for a range that ends past the end of the file, which is extended by it.
Task<int> FileDevice::zero_to_new_end(uint64_t offset, uint64_t end, bool may_unmap,
                                      bool may_write) {
  if (!may_unmap) {
    const RangeLock::Guard guard =
        co_await ranges_.acquire(offset, end - offset, RangeLock::Mode::kShared);
    const int error = co_await space_.zero(offset, end - offset, false, may_write);
    if (error == 0) size_ = std::max(size_, end);
    if (error != EOPNOTSUPP) co_return error;
  }
  const uint64_t old_size = size_;
  if (offset < old_size) {
    const int error = co_await zero_inside(offset, old_size - offset, may_unmap, may_write);
    if (error != 0) co_return error;
  }
  const RangeLock::Guard guard =
      co_await ranges_.acquire(old_size, UINT64_MAX - old_size, RangeLock::Mode::kExclusive);
  if (end <= size_) co_return 0;  // other writes have extended it, and what they skipped is zero
  if (ftruncate(file_.fd(), static_cast<off_t>(end)) != 0) co_return errno;
  size_ = end;
  co_return 0;
}

Task<void> FileDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  check_medium();
  if (length == 0) co_return;
  const NotedWrite noted(this, offset + length);
  const bool may_unmap = has_flag(flags, WriteFlags::kMayUnmap);
  const bool may_write = !has_flag(flags, WriteFlags::kNoFallback);
  int error = 0;
  if (offset + length > size_) {
    error = co_await zero_to_new_end(offset, offset + length, may_unmap, may_write);
  } else {
    error = co_await zero_inside(offset, length, may_unmap, may_write);
  }
  if (error != 0) fail(error, "file-zeroing-failed", "write zeroes to", offset, length);
  ++writes_done_;
  if (is_durable(flags)) co_await make_durable();
}

Task<void> FileDevice::do_discard(uint64_t offset, uint64_t length) {
  check_medium();
  const uint64_t start = align_up(offset, space_.alignment());
  const uint64_t until = align_down(offset + length, space_.alignment());
  if (start >= until) co_return;
  const int error = co_await space_.discard(start, until - start);
  // A hint that the host does not support.
  if (error == EOPNOTSUPP) co_return;
  if (error != 0) fail(error, "file-discard-failed", "discard", offset, length);
  ++writes_done_;
}

Task<void> FileDevice::do_reserve_space(uint64_t offset, uint64_t length) {
  if (is_host_device_ || length == 0) co_return;
  // The file is extended: a limit on its length must refuse that now and not at a later write.
  const uint64_t end = offset + length;
  const NotedWrite noted(this, end);
  RangeLock::Guard guard;
  if (end > size_) guard = co_await ranges_.acquire(offset, length, RangeLock::Mode::kShared);
  int error = co_await space_.allocate(offset, length);
  if (error == 0) size_ = std::max(size_, end);
  guard.release();
  // A file system without fallocate() allocates space past the end of the file by writing bytes.
  if (error == EOPNOTSUPP && offset >= size_) {
    error = co_await write_zero_bytes(offset, length, false);
  }
  if (error != 0 && error != EOPNOTSUPP)
    fail(error, "file-reservation-failed", "allocate space for", offset, length);
}

Task<std::vector<Extent>> FileDevice::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  std::vector<Extent> result;
  const uint64_t end = offset + length;
  while (offset < end && result.size() < kExtentsMax) {
    const FileSpace::Run run = space_.find(offset, size_);
    const uint64_t until = std::min(end, run.end);
    Extent extent{.offset = offset, .length = until - offset, .present = true};
    extent.data = !run.is_hole;
    extent.zero = run.is_hole;
    extent.host_offset = offset;
    extent.file = this;
    result.push_back(extent);
    offset = until;
  }
  co_return result;
}

std::optional<uint64_t> FileDevice::allocated_size() const {
  struct stat status{};
  if (fstat(file_.fd(), &status) != 0) return std::nullopt;
  return static_cast<uint64_t>(status.st_blocks) * kSectorSize;
}

Task<void> FileDevice::do_close() {
  const int error = file_.close();
  locked_ = kLockNothing;
  if (error != 0) fail(error, "file-close-failed", "close", 0, size_);
  co_return;
}

}  // namespace byre::storage
