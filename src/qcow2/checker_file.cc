// SPDX-License-Identifier: Apache-2.0
#include "qcow2/checker_file.h"

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "byre/error.h"
#include "qcow2/padded_read.h"

namespace byre::qcow2 {

CheckerFile::CheckerFile(BlockDevice* file, uint64_t kept_max)
    : file_(file),
      size_(file->size()),
      buffer_(std::max(kReadMax, kept_max)) {}

uint64_t CheckerFile::stored(uint64_t offset, uint64_t length) const {
  return offset < size_ ? std::min(length, align_up(size_ - offset, 8)) : 0;
}

std::optional<ConstBytes> CheckerFile::kept(uint64_t offset, uint64_t length) const {
  if (offset < start_ || !range_fits(offset - start_, length, kept_)) return std::nullopt;
  return buffer_.bytes(offset - start_, length);
}

Task<ConstBytes> CheckerFile::read(uint64_t offset, uint64_t length, uint64_t ahead) {
  if (!range_fits(offset, length, INT64_MAX)) throw Error::from_errno(EIO, "Could not read");
  const std::optional<ConstBytes> ready = kept(offset, length);
  if (ready) co_return *ready;
  const uint64_t more = std::min(ahead, std::max(length, kReadMax) - length);
  const uint64_t wanted = length + stored(offset + length, more);
  kept_ = 0;
  co_await padded_read(file_, offset, IoVector(buffer_.bytes(0, wanted)));
  start_ = offset;
  kept_ = wanted;
  co_return ConstBytes(buffer_.bytes(0, length));
}

}  // namespace byre::qcow2
