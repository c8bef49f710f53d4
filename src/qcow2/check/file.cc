// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "block/read_zero_padded.h"
#include "byre/error.h"

namespace byre::qcow2 {

namespace {

// Smaller tables are read as quickly as holes are looked up.
constexpr uint64_t kHoleMin = 16384;

}  // namespace

CheckerFile::CheckerFile(BlockDevice* file)
    : file_(file),
      size_(file->size()),
      is_sparse_(file->allocated_size().value_or(UINT64_MAX) < size_ / 2) {}

Task<bool> CheckerFile::is_hole(uint64_t offset, uint64_t length) {
  const uint64_t in_file = offset < size_ ? std::min(length, size_ - offset) : 0;
  if (in_file == 0) co_return true;
  if (!is_sparse_ || length < kHoleMin) co_return false;
  const std::vector<Extent> extents = co_await file_->extents(offset, in_file, ExtentScope::kLayer);
  co_return extents.front().zero&& extents.front().length >= in_file;
}

uint64_t CheckerFile::stored(uint64_t offset, uint64_t length) const {
  return offset < size_ ? std::min(length, align_up(size_ - offset, 8)) : 0;
}

std::optional<ConstBytes> CheckerFile::kept(uint64_t offset, uint64_t length) const {
  if (offset < start_ || !range_fits(offset - start_, length, kept_)) return std::nullopt;
  return buffer_.bytes(offset - start_, length);
}

Task<ConstBytes> CheckerFile::read(uint64_t offset, uint64_t length, uint64_t ahead) {
  if (!range_fits(offset, length, INT64_MAX)) {
    throw Error(
        ErrorKind::kIo, EIO,
        ErrorData{.code = "qcow2-offset-past-any-end", .value = length, .offset = offset},
        fmt::format("{} bytes at offset {:#x} are past the end of any file", length, offset));
  }
  const std::optional<ConstBytes> ready = kept(offset, length);
  if (ready) co_return *ready;
  const uint64_t more = std::min(ahead, std::max(length, kReadMax) - length);
  const uint64_t wanted = length + stored(offset + length, more);
  kept_ = 0;
  if (buffer_.size() < wanted) buffer_ = Buffer(wanted);
  co_await read_zero_padded(file_, offset, ReadBuffers(buffer_.bytes(0, wanted)));
  start_ = offset;
  kept_ = wanted;
  co_return ConstBytes(buffer_.bytes(0, length));
}

}  // namespace byre::qcow2
