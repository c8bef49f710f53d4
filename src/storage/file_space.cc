// SPDX-License-Identifier: Apache-2.0
#include "storage/file_space.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace byre::storage {

namespace {

// Writes into new space that have at least this size are cheaper if it is allocated first. Decision
// 0004 has the numbers.
constexpr uint64_t kPreparedMin = 256 << 10;

// The errors of file systems and drivers that do not support an operation at all.
bool is_refusal(int error) {
  return error == EOPNOTSUPP || error == ENOSYS || error == ENODEV || error == ENOTTY;
}

}  // namespace

Task<int> FileSpace::try_mode(int mode, bool* is_refused, uint64_t offset, uint64_t length) {
  if (*is_refused) co_return EOPNOTSUPP;
  const int error = co_await file_->allocate(mode, offset, length);
  if (!is_refusal(error)) co_return error;
  *is_refused = true;
  co_return EOPNOTSUPP;
}

Task<int> FileSpace::zero(uint64_t offset, uint64_t length, bool may_unmap, bool may_write) {
  data_end_ = 0;
  if (may_unmap) {
    const int error = co_await try_mode(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        &punch_is_refused_, offset, length);
    if (error != EOPNOTSUPP) co_return error;
  }
  if (is_block_device_ && !may_write) co_return EOPNOTSUPP;
  untouched_from_ = std::max(untouched_from_, offset + length);
  const int keep_size = may_unmap ? FALLOC_FL_KEEP_SIZE : 0;
  int error =
      co_await try_mode(FALLOC_FL_ZERO_RANGE | keep_size, &zero_range_is_refused_, offset, length);
  if (error != EOPNOTSUPP || !is_block_device_ || zero_out_is_refused_) co_return error;
  const auto zero_out = [fd = file_->fd(), offset, length] {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, BLKZEROOUT, range) == 0 ? 0 : errno;
  };
  error = co_await file_->run_blocking(zero_out);
  if (!is_refusal(error)) co_return error;
  zero_out_is_refused_ = true;
  co_return EOPNOTSUPP;
}

Task<int> FileSpace::discard(uint64_t offset, uint64_t length) {
  data_end_ = 0;
  if (!is_block_device_) {
    const int error = co_await try_mode(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        &punch_is_refused_, offset, length);
    co_return error;
  }
  if (discard_is_refused_) co_return EOPNOTSUPP;
  const auto discard_blocks = [fd = file_->fd(), offset, length] {
    uint64_t range[2] = {offset, length};
    return ioctl(fd, BLKDISCARD, range) == 0 ? 0 : errno;
  };
  const int error = co_await file_->run_blocking(discard_blocks);
  if (!is_refusal(error)) co_return error;
  discard_is_refused_ = true;
  co_return EOPNOTSUPP;
}

Task<int> FileSpace::allocate(uint64_t offset, uint64_t length) {
  untouched_from_ = std::max(untouched_from_, offset + length);
  const int error = co_await try_mode(0, &allocate_is_refused_, offset, length);
  co_return error;
}

uint64_t FileSpace::end_of_data(int fd, uint64_t size) {
  const off_t hole = lseek(fd, 0, SEEK_HOLE);
  if (hole < 0) return size;
  const bool has_more = lseek(fd, hole, SEEK_DATA) >= 0 || errno != ENXIO;
  return has_more ? size : static_cast<uint64_t>(hole);
}

bool FileSpace::note_write(uint64_t offset, uint64_t length) {
  const bool is_untouched = offset >= untouched_from_;
  untouched_from_ = std::max(untouched_from_, offset + length);
  return is_untouched && length >= kPreparedMin;
}

// Allocating page by page, while it copies, is far slower on ext4. Others were not measured.
Task<void> FileSpace::prepare(uint64_t offset, uint64_t length) {
  if (!preparing_pays_) {
    struct statfs status{};
    preparing_pays_ = fstatfs(file_->fd(), &status) == 0 && status.f_type == EXT4_SUPER_MAGIC;
  }
  if (!*preparing_pays_) co_return;
  const int error = co_await file_->allocate(FALLOC_FL_KEEP_SIZE, offset, length);
  if (is_refusal(error)) preparing_pays_ = false;  // ext2, ext3
}

FileSpace::Run FileSpace::find(uint64_t offset, uint64_t file_size) {
  if (is_block_device_ || seek_is_refused_) return {file_size, false};
  if (offset >= data_start_ && offset < data_end_) return {std::min(data_end_, file_size), false};
  const off_t data = lseek(file_->fd(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) {
    if (errno == ENXIO) return {file_size, true};
    seek_is_refused_ = true;
    return {file_size, false};
  }
  if (static_cast<uint64_t>(data) > offset) {
    return {std::min<uint64_t>(static_cast<uint64_t>(data), file_size), true};
  }
  const off_t hole = lseek(file_->fd(), data, SEEK_HOLE);
  // A hole may have been made here between the two calls; calling it data is never wrong.
  if (hole < 0 || static_cast<uint64_t>(hole) <= offset) return {file_size, false};
  data_start_ = offset;
  data_end_ = static_cast<uint64_t>(hole);
  return {std::min(data_end_, file_size), false};
}

}  // namespace byre::storage
