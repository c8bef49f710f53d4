// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace byre {

// How the clusters of an image are compressed: raw deflate, or zstd. The numbers are those of the
// format (specification: header, byte 104).
enum class CompressionType : uint8_t { kZlib = 0, kZstd = 1 };

}  // namespace byre
