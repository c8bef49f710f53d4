// SPDX-License-Identifier: Apache-2.0
#include "jobs/segment_reader.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/units.h"
#include "block/buffer.h"
#include "jobs/copy_failure.h"

namespace byre::jobs {

Task<void> SegmentReader::read(Segment segment, uint64_t offset, Bytes to) {
  std::optional<Error> failed;
  try {
    co_await source_.read(offset, to);
    co_return;
  } catch (const Error& error) {
    failed = error;
  }
  if (options_.salvage) {
    co_await salvage(offset, to);
    co_return;
  }
  const uint64_t place = co_await first_unreadable(segment);
  throw failure_at({.code = "convert-read-failed", .offset = place}, "cannot read from", *failed);
}

// The start of the first extent that cannot be read: a segment may contain several, and the message
// names the damaged one.
Task<uint64_t> SegmentReader::first_unreadable(Segment segment) {
  Buffer buffer(segment.length);
  Bytes to = buffer.bytes();
  uint64_t offset = segment.offset;
  const ExtentScope scope = options_.top_layer_only ? ExtentScope::kLayer : ExtentScope::kChain;
  try {
    while (!to.empty()) {
      if (cancellation_ != nullptr) cancellation_->check();
      const std::vector<Extent> extents = co_await source_.extents(offset, to.size(), scope);
      const size_t length = std::min<uint64_t>(extents.front().length, to.size());
      co_await source_.read(offset, to.first(length));
      offset += length;
      to = to.subspan(length);
    }
  } catch (const Error&) {
    co_return offset;
  }
  co_return segment.offset;  // all could be read this time
}

// Reads sector by sector; unreadable ones become zeroes.
Task<void> SegmentReader::salvage(uint64_t offset, Bytes to) {
  while (!to.empty()) {
    if (cancellation_ != nullptr) cancellation_->check();
    const Bytes sector = to.first(std::min<size_t>(to.size(), kSectorSize));
    try {
      co_await source_.read(offset, sector);
    } catch (const Error& error) {
      std::fill(sector.begin(), sector.end(), 0);
      if (options_.on_unreadable) options_.on_unreadable(offset, error);
    }
    offset += sector.size();
    to = to.subspan(sector.size());
  }
}

}  // namespace byre::jobs
