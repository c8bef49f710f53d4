// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/reference_counts.h"

#include <algorithm>
#include <span>

#include "base/assert.h"
#include "base/checked.h"

namespace byre::qcow2 {

ReferenceCounts::ReferenceCounts(uint64_t cluster_count, uint64_t count_max)
    : cluster_count_(0),
      count_max_(std::min(count_max, kWideCountMask)),
      narrow_max_(static_cast<unsigned>(std::min<uint64_t>(count_max, kNarrowCountMask))) {
  grow(cluster_count);
}

void ReferenceCounts::grow(uint64_t cluster_count) {
  BYRE_ASSERT(cluster_count >= cluster_count_);
  cluster_count_ = cluster_count;
  pages_.resize(div_ceil(cluster_count, kPageClusters));
}

ReferenceCounts::Page& ReferenceCounts::page_of(uint64_t cluster) {
  BYRE_ASSERT(cluster < cluster_count_);
  std::unique_ptr<Page>& page = pages_[cluster >> kPageBits];
  if (page == nullptr) page = std::make_unique<Page>();
  return *page;
}

// The cell of a cluster in a page that is still a list; nullptr if the list is full.
uint8_t* ReferenceCounts::few_cell(Page& page, uint16_t index) {
  const auto before = [](const Few& entry, uint16_t value) { return entry.index < value; };
  auto place = page.few.end();
  if (!page.few.empty() && page.few.back().index >= index) {
    place = std::lower_bound(page.few.begin(), page.few.end(), index, before);
    if (place->index == index) return &place->cell;
  }
  if (page.few.size() == kFewMax) return nullptr;
  return &page.few.insert(place, Few{index, 0})->cell;
}

void ReferenceCounts::make_narrow(Page& page) {
  page.narrow = std::make_unique<uint8_t[]>(kPageClusters);
  for (const Few& entry : page.few) page.narrow[entry.index] = entry.cell;
  page.few = {};
}

void ReferenceCounts::make_wide(Page& page) {
  if (page.narrow == nullptr) make_narrow(page);
  page.wide = std::make_unique<uint64_t[]>(kPageClusters);
  for (uint64_t i = 0; i < kPageClusters; ++i) {
    const uint64_t cell = page.narrow[i];
    page.wide[i] = (cell & kNarrowCountMask) | (cell >> kNarrowCountBits << kWideCountBits);
  }
  page.narrow.reset();
}

uint64_t ReferenceCounts::add(uint64_t cluster, uint64_t times, Claim claim) {
  Page& page = page_of(cluster);
  const uint16_t index = static_cast<uint16_t>(cluster & (kPageClusters - 1));
  if (page.wide == nullptr) {
    uint8_t* cell = page.narrow != nullptr ? &page.narrow[index] : few_cell(page, index);
    if (cell == nullptr) {
      make_narrow(page);
      cell = &page.narrow[index];
    }
    const uint64_t room = narrow_max_ - (*cell & kNarrowCountMask);
    const bool fits = times <= room;
    if (fits || count_max_ == narrow_max_) {
      const uint64_t added = std::min(times, room);
      *cell = static_cast<uint8_t>((*cell + added) |
                                   (static_cast<unsigned>(claim) << kNarrowCountBits));
      return times - added;
    }
    make_wide(page);
  }
  uint64_t& cell = page.wide[index];
  const uint64_t added = std::min(times, count_max_ - (cell & kWideCountMask));
  cell = (cell + added) | (static_cast<uint64_t>(claim) << kWideCountBits);
  return times - added;
}

uint64_t ReferenceCounts::add_fast(uint64_t first, uint64_t count, Claim claim) {
  uint64_t done = 0;
  while (done < count) {
    const uint64_t in_page = (first + done) & (kPageClusters - 1);
    const uint64_t piece = std::min(count - done, kPageClusters - in_page);
    Page& page = page_of(first + done);
    if (page.narrow == nullptr && page.wide == nullptr && piece > kFewMax) make_narrow(page);
    if (page.narrow == nullptr) break;
    const std::span<uint8_t> cells(&page.narrow[in_page], piece);
    // Loops without early exits are those that compilers vectorize.
    bool is_full = false;
    for (const uint8_t cell : cells) is_full |= (cell & kNarrowCountMask) >= narrow_max_;
    if (is_full) break;
    const auto claim_bits = static_cast<uint8_t>(static_cast<unsigned>(claim) << kNarrowCountBits);
    for (uint8_t& cell : cells) cell = static_cast<uint8_t>((cell + 1) | claim_bits);
    done += piece;
  }
  return done;
}

bool ReferenceCounts::surely_equal(uint64_t first, ConstBytes refcounts) const {
  const Page* const page = pages_[first >> kPageBits].get();
  if (page == nullptr || page->narrow == nullptr) return false;
  const uint8_t* const cells = &page->narrow[first & (kPageClusters - 1)];
  const uint8_t* const stored = refcounts.data();
  unsigned difference = 0;
  for (size_t i = 0; i < refcounts.size() / 2; ++i) {
    difference |= stored[2 * i] | (stored[2 * i + 1] ^ (cells[i] & kNarrowCountMask));
  }
  return difference == 0;
}

uint64_t ReferenceCounts::count(uint64_t cluster) const {
  if (cluster >= cluster_count_) return 0;
  const Page* const page = pages_[cluster >> kPageBits].get();
  if (page == nullptr) return 0;
  const uint64_t index = cluster & (kPageClusters - 1);
  if (page->wide != nullptr) return page->wide[index] & kWideCountMask;
  if (page->narrow != nullptr) return page->narrow[index] & kNarrowCountMask;
  for (const Few& entry : page->few) {
    if (entry.index == index) return entry.cell & kNarrowCountMask;
  }
  return 0;
}

bool ReferenceCounts::load_page(uint64_t number, PageCounts* room) const {
  const Page* const page = pages_[number].get();
  if (page == nullptr) return false;
  if (page->wide != nullptr) {
    for (uint64_t i = 0; i < kPageClusters; ++i) (*room)[i] = page->wide[i] & kWideCountMask;
  } else if (page->narrow != nullptr) {
    for (uint64_t i = 0; i < kPageClusters; ++i) (*room)[i] = page->narrow[i] & kNarrowCountMask;
  } else {
    room->fill(0);
    for (const Few& entry : page->few) (*room)[entry.index] = entry.cell & kNarrowCountMask;
  }
  return true;
}

namespace {

bool claim_holds(uint64_t count, uint64_t claims) {
  using Claim = ReferenceCounts::Claim;
  if ((claims & static_cast<uint64_t>(Claim::kCopied)) != 0 && count != 1) return false;
  return (claims & static_cast<uint64_t>(Claim::kNotCopied)) == 0 || count != 1;
}

}  // namespace

bool ReferenceCounts::narrow_claims_hold(const uint8_t* cells) {
  bool is_wrong = false;
  for (uint64_t i = 0; i < kPageClusters; ++i) {
    const bool is_one = (cells[i] & kNarrowCountMask) == 1;
    const bool says_one = (cells[i] & kNarrowCopied) != 0;
    const bool says_other = (cells[i] & kNarrowNotCopied) != 0;
    is_wrong |= (says_one & !is_one) | (says_other & is_one);
  }
  return !is_wrong;
}

bool ReferenceCounts::claims_hold() const {
  for (const std::unique_ptr<Page>& page : pages_) {
    if (page == nullptr) continue;
    for (const Few& entry : page->few) {
      if (!claim_holds(entry.cell & kNarrowCountMask, entry.cell >> kNarrowCountBits)) return false;
    }
    if (page->narrow != nullptr && !narrow_claims_hold(page->narrow.get())) return false;
    for (uint64_t i = 0; page->wide != nullptr && i < kPageClusters; ++i) {
      const uint64_t cell = page->wide[i];
      if (!claim_holds(cell & kWideCountMask, cell >> kWideCountBits)) return false;
    }
  }
  return true;
}

}  // namespace byre::qcow2
