// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace byre::qcow2 {

// The number of references to each host cluster that a checker has found, and whether the L1 and L2
// entries that claim to be the only one (the copied flag) are right.
//
// Memory is proportional to the number of references, not to the size of the file: clusters are
// grouped in pages, and a page is a short list while few of its clusters are referred to, then one
// byte per cluster, then, once a count does not fit, eight.
class ReferenceCounts {
 public:
  static constexpr uint64_t kPageBits = 12;
  static constexpr uint64_t kPageClusters = uint64_t{1} << kPageBits;

  // What an entry claims about the cluster that it refers to.
  enum class Claim : uint8_t { kNone, kCopied, kNotCopied };

  // `count_max`: the largest refcount of the image.
  ReferenceCounts(uint64_t cluster_count, uint64_t count_max);

  uint64_t cluster_count() const { return cluster_count_; }
  // Makes room for clusters past the end.
  void grow(uint64_t cluster_count);

  // Adds up to `times` references to a cluster below cluster_count(), as many as fit below
  // count_max. Returns how many did not fit.
  uint64_t add(uint64_t cluster, uint64_t times, Claim claim);
  // Adds one reference to each of the clusters [first, first + count), for large counts. Returns
  // how many were done, from the first one on.
  uint64_t add_fast(uint64_t first, uint64_t count, Claim claim);

  uint64_t count(uint64_t cluster) const;

  // Loads the counts of a page into `room`; page 0 has clusters 0 to kPageClusters - 1. Returns
  // false if all of them are 0.
  using PageCounts = std::array<uint64_t, kPageClusters>;
  bool load_page(uint64_t page, PageCounts* room) const;
  uint64_t page_count() const { return pages_.size(); }
  // Whether the counts of these clusters of one page are equal to the 16-bit big-endian numbers in
  // `refcounts`, as stored on disk. May return false for equal ones if that is not easily
  // determined.
  bool surely_equal(uint64_t first, ConstBytes refcounts) const;
  bool page_is_empty(uint64_t page) const { return pages_[page] == nullptr; }
  // Whether every claim agrees with the count: copied if it is 1, not copied if it is not.
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
  unsigned narrow_max_;  // the largest count of a narrow cell
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace byre::qcow2
