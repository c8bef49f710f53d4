// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace byre::jobs {

// A part of a buffer that shall be written, or that reads as zeroes and need not be.
struct ZeroRun {
  uint64_t length = 0;
  bool is_zero = false;
  bool operator==(const ZeroRun&) const = default;
};

// Which zeroes are worth leaving out (`convert -S`).
struct SparseRule {
  // Shorter runs of zeroes between data are written with it. A multiple of the sector size; 0:
  // everything is written.
  uint64_t zeroes_min = 4096;
  // Runs begin and end at multiples of it, in offsets of the target. A power of two.
  uint64_t alignment = 4096;
};

// The largest power of two that `zeroes_min` holds, at least a sector and at least what the target
// likes.
SparseRule sparse_rule(uint64_t zeroes_min, uint64_t request_alignment);

// Cuts `bytes`, which stand at `offset` of the target, into runs that alternate between data and
// zeroes.
std::vector<ZeroRun> zero_runs(ConstBytes bytes, uint64_t offset, SparseRule rule);

}  // namespace byre::jobs
