// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "codec/codec.h"

namespace byre::codec {

// The compressors that a level of byre's scale stands for: one that does the work, and, where that
// is slow, a fast one that tells first whether bytes without a visible pattern are worth it.
struct LevelParts {
  std::unique_ptr<Compressor> main;
  std::unique_ptr<Compressor> scout;  // nullptr: the main one is as fast
  // For clusters of which the main one leaves next to nothing; nullptr: it leaves the least itself.
  std::unique_ptr<Compressor> finisher;
};

// `level` is on the scale, `type` is supported.
LevelParts parts_of(CompressionType type, int level);

}  // namespace byre::codec
