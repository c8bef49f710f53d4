// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace byre::qcow2 {

// How many references a checker has found to each host cluster, and whether L1 and L2 entries that
// claim to be the only one (the copied flag) are among them.
//
// Memory follows the references, not the size of the file: clusters come in pages, and a page is a
// short list while few of its clusters are referred to, then a byte a cluster, then, once a count
// does not fit, eight.
class ReferenceCounts {
 public:
  static constexpr uint64_t kPageBits = 12;
  static constexpr uint64_t kPageClusters = uint64_t{1} << kPageBits;

  // What an entry says of the cluster that it refers to.
  enum class Claim : uint8_t { kNone, kCopied, kNotCopied };

  // `count_max`: the largest refcount of the image.
  ReferenceCounts(uint64_t cluster_count, uint64_t count_max);

  uint64_t cluster_count() const { return cluster_count_; }
  // Makes room for a cluster behind the end.
  void grow(uint64_t cluster_count);

  // Adds up to `times` references to a cluster below cluster_count(), as many as fit below
  // count_max. Gives how many did not fit.
  uint64_t add(uint64_t cluster, uint64_t times, Claim claim);
  // The same, once, for each of the many clusters [first, first + count): how many were done, from
  // the first one on.
  uint64_t add_fast(uint64_t first, uint64_t count, Claim claim);

  uint64_t count(uint64_t cluster) const;

  // The counts of a page, page 0 being clusters 0 to kPageClusters - 1; nullptr: all 0. `room` is
  // where they are put if they are not stored that way.
  using PageCounts = std::array<uint64_t, kPageClusters>;
  bool load_page(uint64_t page, PageCounts* room) const;
  uint64_t page_count() const { return pages_.size(); }
  // Whether the counts of these clusters of one page are the 16-bit big-endian numbers in
  // `refcounts` as they stand on disk. No where that is not easily told.
  bool surely_equal(uint64_t first, ConstBytes refcounts) const;
  bool page_is_empty(uint64_t page) const { return pages_[page] == nullptr; }
  // Whether every claim agrees with the count: copied where it is 1, not copied where it is not.
  bool claims_hold() const;

 private:
  static constexpr unsigned kNarrowCountBits = 6;
  static constexpr unsigned kNarrowCountMask = (1u << kNarrowCountBits) - 1;
  static constexpr unsigned kNarrowCopied = static_cast<unsigned>(Claim::kCopied)
                                            << kNarrowCountBits;
  static constexpr unsigned kNarrowNotCopied = static_cast<unsigned>(Claim::kNotCopied)
                                               << kNarrowCountBits;
  static constexpr size_t kFewMax = 128;

  // A count with two bits of claims above it.
  struct Few {
    uint16_t index;
    uint8_t cell;
  };
  struct Page {
    std::vector<Few> few;  // sorted; empty once there is an array
    std::unique_ptr<uint8_t[]> narrow;
    std::unique_ptr<uint64_t[]> wide;
  };
  static constexpr unsigned kWideCountBits = 62;
  static constexpr uint64_t kWideCountMask = (uint64_t{1} << kWideCountBits) - 1;

  Page& page_of(uint64_t cluster);
  uint8_t* few_cell(Page& page, uint16_t index);
  static void make_narrow(Page& page);
  static void make_wide(Page& page);
  static bool narrow_claims_hold(const uint8_t* cells);

  uint64_t cluster_count_;
  uint64_t count_max_;
  unsigned narrow_max_;  // the largest count that a cell takes before something else must happen
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace byre::qcow2
