// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

#include "async/cancellation.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "jobs/progress.h"

namespace byre::jobs {

struct CompareOptions {
  // Sizes and the state of every byte (stored, zero, compressed, ...) must be equal too.
  bool strict = false;
  unsigned in_flight = 8;
  // Called once, when the common part of two images of different size has been found equal.
  std::function<void()> on_size_difference;
};

struct CompareResult {
  enum class Kind { kEqual, kSizeDiffers, kStateDiffers, kContentDiffers };
  Kind kind = Kind::kEqual;
  // The offset of the first difference, rounded down to a sector relative to where the comparison
  // began to read.
  uint64_t offset = 0;
};

// A failure, and what failed: `compare` has an exit code for each.
class CompareError : public Error {
 public:
  enum class Stage { kExtents, kRead };
  CompareError(Stage stage, const Error& error) : Error(error), stage_(stage) {}
  Stage stage() const { return stage_; }

 private:
  Stage stage_;
};

// Compares the contents of two images. If their sizes differ, the longer one must be zero past the
// end of the other. What both images know to be zero is not read. Sizes are in whole sectors.
//
// Throws CompareError, and Error(kCancelled) after a request to `cancellation`. The difference or
// failure with the lowest offset is reported. `progress` and `cancellation` may be nullptr.
Task<CompareResult> compare(BlockDevice& first, BlockDevice& second, CompareOptions options,
                            Progress* progress, const Cancellation* cancellation);

}  // namespace byre::jobs
