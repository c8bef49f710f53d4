// SPDX-License-Identifier: Apache-2.0
#include "jobs/zero_runs.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/checked.h"
#include "base/units.h"

namespace byre::jobs {

SparseRule sparse_rule(uint64_t zeroes_min, uint64_t request_alignment) {
  SparseRule rule;
  rule.zeroes_min = zeroes_min;
  rule.alignment = std::max({kSectorSize, std::bit_floor(zeroes_min), request_alignment});
  return rule;
}

std::vector<ZeroRun> zero_runs(ConstBytes bytes, uint64_t offset, SparseRule rule) {
  std::vector<ZeroRun> runs;
  if (bytes.empty()) return runs;
  if (rule.zeroes_min == 0) {
    runs.push_back({bytes.size(), false});
    return runs;
  }
  BYRE_ASSERT(is_power_of_two(rule.alignment));
  if (is_all_zero(bytes)) {
    runs.push_back({bytes.size(), true});
    return runs;
  }
  const auto add = [&runs](uint64_t length, bool is_zero) {
    if (!runs.empty() && runs.back().is_zero == is_zero) {
      runs.back().length += length;
    } else {
      runs.push_back({length, is_zero});
    }
  };
  size_t at = 0;
  while (at < bytes.size()) {
    const uint64_t to_boundary = rule.alignment - ((offset + at) & (rule.alignment - 1));
    const size_t length = static_cast<size_t>(std::min<uint64_t>(to_boundary, bytes.size() - at));
    const bool is_zero = is_all_zero(bytes.subspan(at, length));
    if (!is_zero && runs.size() >= 2 && runs.back().is_zero &&
        runs.back().length < rule.zeroes_min) {
      // Too short a gap after data: it becomes data.
      const uint64_t gap = runs.back().length;
      runs.pop_back();
      runs.back().length += gap;
    }
    add(length, is_zero);
    at += length;
  }
  return runs;
}

std::vector<ZeroRun> difference_runs(ConstBytes bytes, ConstBytes kept, uint64_t unit) {
  const auto is_equal = [&](size_t at, ConstBytes part) {
    const ConstBytes other = kept.subspan(std::min(at, kept.size()));
    const size_t common = std::min(part.size(), other.size());
    const bool has_other = common > 0 && std::memcmp(part.data(), other.data(), common) != 0;
    return !has_other && is_all_zero(part.subspan(common));
  };
  std::vector<ZeroRun> runs;
  for (size_t at = 0; at < bytes.size(); at += unit) {
    const ConstBytes part = bytes.subspan(at, std::min<size_t>(unit, bytes.size() - at));
    ZeroRun run{.length = part.size()};
    run.is_kept = is_equal(at, part);
    run.is_zero = !run.is_kept && is_all_zero(part);
    if (!runs.empty() && runs.back().is_zero == run.is_zero && runs.back().is_kept == run.is_kept) {
      runs.back().length += run.length;
    } else {
      runs.push_back(run);
    }
  }
  return runs;
}

}  // namespace byre::jobs
