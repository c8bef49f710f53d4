// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace byre::jobs {

// A part of a buffer that must be written, or that reads as zeroes and need not be.
struct ZeroRun {
  uint64_t length = 0;
  bool is_zero = false;
  bool is_kept = false;  // the target reads as these bytes without being written
  bool operator==(const ZeroRun&) const = default;
};

// The zeroes that need not be written (`convert -S`).
struct SparseRule {
  // Shorter runs of zeroes between data are written with it. A multiple of the sector size; 0:
  // everything is written.
  uint64_t zeroes_min = 4096;
  // Runs begin and end at multiples of it, in offsets of the target. A power of two.
  uint64_t alignment = 4096;
};

// Aligns to the largest power of two not above `zeroes_min`, at least a sector and at least the
// target's request alignment.
SparseRule sparse_rule(uint64_t zeroes_min, uint64_t request_alignment);

// Cuts `bytes`, which belong to `offset` of the target, into runs that alternate between data and
// zeroes.
std::vector<ZeroRun> zero_runs(ConstBytes bytes, uint64_t offset, SparseRule rule);

// Cuts `bytes` into runs of whole units of `unit` bytes, the last of which may be shorter: kept ones
// are those that `kept` has, too, which may be shorter and reads as zeroes past its end.
std::vector<ZeroRun> difference_runs(ConstBytes bytes, ConstBytes kept, uint64_t unit);

}  // namespace byre::jobs
