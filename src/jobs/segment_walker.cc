// SPDX-License-Identifier: Apache-2.0
#include "jobs/segment_walker.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"

namespace byre::jobs {

Segment::Kind SegmentWalker::kind_of(const Extent& extent) const {
  if (extent.depth >= rules_.layers) return Segment::Kind::kBacking;
  if (rules_.top_layer_only && !extent.present && extent.offset < rules_.source_backing_size) {
    return Segment::Kind::kBacking;
  }
  if (!extent.zero && extent.present) return Segment::Kind::kData;
  if (extent.offset >= rules_.backing_size) return Segment::Kind::kBacking;
  return rules_.zero_is_data ? Segment::Kind::kData : Segment::Kind::kZero;
}

Task<std::vector<Extent>> SegmentWalker::ask(uint64_t length) {
  const ExtentScope scope = rules_.top_layer_only ? ExtentScope::kLayer : ExtentScope::kChain;
  if (!rules_.salvage) co_return co_await source_.extents(position_, length, scope);
  co_return co_await ask_by_sector(length, scope);
}

// Asks for shorter and shorter ranges, down to the sector whose state cannot be read, and from
// there on for longer and longer ones.
Task<std::vector<Extent>> SegmentWalker::ask_by_sector(uint64_t length, ExtentScope scope) {
  std::vector<Extent> answer;
  while (answer.empty()) {
    const uint64_t asked = std::min(length, asked_max_);
    try {
      answer = co_await source_.extents(position_, asked, scope);
      asked_max_ = std::min(2 * asked_max_, kZeroLengthMax);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled) throw;
      asked_max_ = std::max(align_down(asked / 2, kSectorSize), kSectorSize);
      if (asked > kSectorSize) continue;
      if (rules_.on_unknown) rules_.on_unknown(position_, error);
      answer.assign(1, {.offset = position_, .length = asked, .present = true, .data = true});
    }
  }
  co_return answer;
}

Task<void> SegmentWalker::look() {
  while (index_ < known_.size() && known_[index_].offset + known_[index_].length <= position_) {
    ++index_;
  }
  if (index_ < known_.size()) co_return;
  known_.clear();
  index_ = 0;
  const uint64_t length = std::min(source_.size() - position_, kZeroLengthMax);
  const std::vector<Extent> extents = co_await ask(length);
  BYRE_ASSERT(!extents.empty() && extents.front().offset == position_);
  for (Extent extent : extents) {
    // An extent that crosses the end of a backing file is of two kinds.
    for (const uint64_t end : {std::min(rules_.source_backing_size, rules_.backing_size),
                               std::max(rules_.source_backing_size, rules_.backing_size)}) {
      if (extent.offset >= end || extent.length <= end - extent.offset) continue;
      const uint64_t before = end - extent.offset;
      known_.push_back({extent.offset, before, kind_of(extent)});
      extent.offset += before;
      extent.length -= before;
    }
    known_.push_back({extent.offset, extent.length, kind_of(extent)});
  }
}

uint64_t SegmentWalker::length_max(Segment::Kind kind) const {
  if (kind != Segment::Kind::kData) return kZeroLengthMax;
  return rules_.data_length_max - position_ % rules_.data_length_max;
}

Task<std::optional<Segment>> SegmentWalker::next_of_any_length() {
  std::optional<Segment> segment;
  uint64_t left = 0;
  while (position_ < source_.size()) {
    co_await look();
    const Segment& here = known_[index_];
    if (!segment.has_value()) {
      segment = Segment{position_, 0, here.kind};
      left = length_max(here.kind);
    }
    if (here.kind != segment->kind || left == 0) break;
    const uint64_t length = std::min(left, here.offset + here.length - position_);
    segment->length += length;
    left -= length;
    position_ += length;
  }
  co_return segment;
}

// The next clusters: as many as are all of one kind, or one that is data in part.
Task<Segment> SegmentWalker::next_cluster() {
  co_await look();
  // It ends past position_, which is a multiple of the cluster size.
  const Segment here = known_[index_];
  const uint64_t here_end = here.offset + here.length;
  const uint64_t whole_end =
      here_end == source_.size() ? here_end : align_down(here_end, rules_.cluster_size);
  Segment segment{position_, 0, here.kind};
  if (whole_end > position_) {
    segment.length = std::min(whole_end - position_, length_max(here.kind));
  } else {
    segment.kind = Segment::Kind::kData;
    segment.length = std::min(rules_.cluster_size, source_.size() - position_);
  }
  position_ += segment.length;
  co_return segment;
}

Task<std::optional<Segment>> SegmentWalker::next() {
  if (rules_.cluster_size == 0) {
    std::optional<Segment> plain = co_await next_of_any_length();
    co_return plain;
  }
  std::optional<Segment> segment = std::exchange(pending_cluster_, std::nullopt);
  while (position_ < source_.size()) {
    if (segment.has_value() &&
        (segment->kind != Segment::Kind::kData ||
         (segment->offset + segment->length) % rules_.data_length_max == 0)) {
      break;
    }
    const Segment cluster = co_await next_cluster();
    if (!segment.has_value()) {
      segment = cluster;
    } else if (segment->kind == cluster.kind) {
      segment->length += cluster.length;
    } else {
      pending_cluster_ = cluster;
      break;
    }
  }
  co_return segment;
}

}  // namespace byre::jobs
