// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "codec/codec.h"

namespace byre::codec {

// The compressors for a level of byre's scale: one that does the work, and, if it is slow, a fast
// one that first tests whether bytes without a visible pattern are worth it.
struct LevelParts {
  std::unique_ptr<Compressor> main;
  std::unique_ptr<Compressor> scout;  // nullptr: the main one is as fast
  // For clusters that the main one compresses to almost nothing; nullptr: the main one does best
  // itself.
  std::unique_ptr<Compressor> finisher;
};

// `level` is on the scale, `type` is supported.
LevelParts parts_of(CompressionType type, int level);

}  // namespace byre::codec
