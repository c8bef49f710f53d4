// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "byre/error.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {

// A piece of the source, classified for copying.
struct Segment {
  enum class Kind {
    kData,     // must be read
    kZero,     // reads as zeroes
    kBacking,  // already in the target's backing file
  };
  uint64_t offset = 0;
  uint64_t length = 0;
  Kind kind = Kind::kData;
  bool operator==(const Segment&) const = default;
};

// Walks over a source from start to end and cuts it into segments, without gaps.
class SegmentWalker {
 public:
  struct Rules {
    // Data segments end at multiples of it.
    uint64_t data_length_max = 0;
    // For compressed targets: all segments are whole clusters, except at the end; a cluster that is
    // not all zeroes or all backing is data. 0: not compressed.
    uint64_t cluster_size = 0;
    // What the source's topmost layer does not have is kBacking, up to the end of the source's
    // backing file; past that it is zero.
    bool top_layer_only = false;
    uint64_t source_backing_size = UINT64_MAX;
    // What is determined by a layer at this depth or below is kBacking: depth 0 is the source itself.
    uint32_t layers = UINT32_MAX;
    // Zeroes from here on are kBacking: the target's backing file has ended.
    uint64_t backing_size = UINT64_MAX;
    // Nothing is kZero: everything that reads as zeroes, and is not kBacking, is to be written like
    // data.
    bool zero_is_data = false;
    // A range whose state cannot be read is treated as data; `on_unknown` is called for every such
    // sector.
    bool salvage = false;
    std::function<void(uint64_t offset, const Error& error)> on_unknown;
  };

  SegmentWalker(const SourceSequence& source, Rules rules)
      : source_(source), rules_(std::move(rules)) {}

  // Nothing at the end. One call at a time.
  Task<std::optional<Segment>> next();
  uint64_t position() const { return position_; }

 private:
  static constexpr uint64_t kZeroLengthMax = uint64_t{1} << 30;

  // Makes the first entry of known_ describe position_.
  Task<void> look();
  Task<std::vector<Extent>> ask(uint64_t length);
  Task<std::vector<Extent>> ask_by_sector(uint64_t length, ExtentScope scope);
  Segment::Kind kind_of(const Extent& extent) const;
  uint64_t length_max(Segment::Kind kind) const;
  Task<std::optional<Segment>> next_of_any_length();
  Task<Segment> next_cluster();

  const SourceSequence& source_;
  const Rules rules_;
  uint64_t position_ = 0;
  std::vector<Segment> known_;  // in order; the current one is known_[index_]
  size_t index_ = 0;
  uint64_t asked_max_ = kZeroLengthMax;  // with `salvage`: less, if states cannot be read
  std::optional<Segment> pending_cluster_;
};

}  // namespace byre::jobs
