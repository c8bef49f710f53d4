// SPDX-License-Identifier: Apache-2.0
#include "codec/compressibility.h"

#include <array>

namespace byre::codec {

bool looks_random(ConstBytes bytes) {
  // Samples from all over the range, so that neither a header nor a tail alone decides.
  constexpr size_t kPieces = 32;
  constexpr size_t kPieceSize = 128;
  constexpr size_t kSampleSize = kPieces * kPieceSize;
  if (bytes.size() < kSampleSize) return false;

  std::array<uint32_t, 256> counts{};
  const size_t stride = bytes.size() / kPieces;
  for (size_t piece = 0; piece < kPieces; ++piece) {
    const uint8_t* at = bytes.data() + piece * stride;
    for (size_t i = 0; i < kPieceSize; ++i) ++counts[at[i]];
  }
  // The chi-squared statistic against equal counts, times the expected count: for random bytes
  // 255 on average with a deviation of 23; for text, code and tables it is in the thousands.
  constexpr uint64_t kExpected = kSampleSize / 256;
  constexpr uint64_t kChiSquaredMax = 400;
  uint64_t sum = 0;
  for (const uint64_t count : counts) {
    const uint64_t difference = count > kExpected ? count - kExpected : kExpected - count;
    sum += difference * difference;
  }
  return sum <= kChiSquaredMax * kExpected;
}

}  // namespace byre::codec
