// SPDX-License-Identifier: Apache-2.0
#include "jobs/source_sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"

namespace byre::jobs {

SourceSequence::SourceSequence(std::vector<BlockDevice*> devices) {
  for (BlockDevice* device : devices) {
    constexpr uint64_t kSizeMax = uint64_t{INT64_MAX} / kSectorSize * kSectorSize;
    const uint64_t size = device->size();
    if (size > kSizeMax || align_up(size, kSectorSize) > kSizeMax - size_) {
      throw Error(ErrorKind::kInvalidArgument, EFBIG,
                  ErrorData{.code = "job-sources-too-large", .bound = kSizeMax},
                  fmt::format("the images have more than {} bytes together", kSizeMax));
    }
    const uint64_t start = size_;
    size_ += align_up(size, kSectorSize);
    if (size != 0) parts_.push_back({device, start, size_, start + size});
  }
}

const SourceSequence::Part& SourceSequence::part_at(uint64_t offset) const {
  const auto after =
      std::upper_bound(parts_.begin(), parts_.end(), offset,
                       [](uint64_t value, const Part& part) { return value < part.start; });
  BYRE_ASSERT(after != parts_.begin());
  return *std::prev(after);
}

Task<void> SourceSequence::read(uint64_t offset, Bytes to) const {
  while (!to.empty()) {
    const Part& part = part_at(offset);
    const size_t length = static_cast<size_t>(std::min<uint64_t>(to.size(), part.end - offset));
    const size_t own = static_cast<size_t>(
        std::min<uint64_t>(length, part.device_end - std::min(offset, part.device_end)));
    if (own != 0) co_await part.device->read(offset - part.start, ReadBuffers(to.first(own)));
    std::memset(to.data() + own, 0, length - own);
    offset += length;
    to = to.subspan(length);
  }
}

SourceSequence::Location SourceSequence::location_of(uint64_t offset, uint64_t length) const {
  const Part& part = part_at(offset);
  if (!range_fits(offset - part.start, length, part.device_end - part.start)) return {};
  return {part.device, offset - part.start};
}

Task<std::vector<Extent>> SourceSequence::extents(uint64_t offset, uint64_t length,
                                                  ExtentScope scope) const {
  std::vector<Extent> found;
  if (length == 0) co_return found;
  const Part& part = part_at(offset);
  if (offset >= part.device_end) {
    found.push_back({.offset = offset, .length = part.end - offset, .present = true, .zero = true});
    co_return found;
  }
  const uint64_t asked = std::min(length, part.device_end - offset);
  found = co_await part.device->extents(offset - part.start, asked, scope);
  for (Extent& extent : found) extent.offset += part.start;
  // The rest of the last sector belongs to the extent before it.
  if (!found.empty()) {
    Extent& last = found.back();
    if (last.offset + last.length == part.device_end) last.length += part.end - part.device_end;
    const uint64_t end = offset + length;
    if (last.offset + last.length > end) last.length = end - last.offset;
  }
  co_return found;
}

}  // namespace byre::jobs
