// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/compression_type.h"

// Compresses one cluster at a time, and decompresses it. No I/O. An object keeps the library's
// context between clusters and is used by one thread at a time; creating one is expensive, reusing
// it is cheap.
namespace byre::codec {

// The name in `-o compression_type=` and `info`: "zlib", "zstd".
const char* name_of(CompressionType type);
// Whether this build supports it: zstd may be omitted, deflate never is.
bool is_supported(CompressionType type);

// Effort, on one scale for both types: kFastest compresses least, kSmallest takes longest.
// docs/compression.md lists the library and level behind each value.
inline constexpr int kFastestLevel = 1;
inline constexpr int kSmallestLevel = 9;
inline constexpr int kDefaultLevel = 2;

// Larger than any cluster, and smaller than the limits of the libraries' counters.
inline constexpr size_t kInputSizeMax = size_t{1} << 30;

class Compressor {
 public:
  // Throws Error(kInvalidArgument) for a level outside the scale, Error(kUnsupported) for a type
  // that this build omits.
  static std::unique_ptr<Compressor> make(CompressionType type, int level = kDefaultLevel);
  virtual ~Compressor() = default;
  // The compressed size, or nothing if it does not fit into `out` or trying would be pointless:
  // then `out` is undefined and the cluster is stored uncompressed. `in` has at most kInputSizeMax
  // bytes. Any window up to 32 KiB may be used for deflate.
  virtual std::optional<size_t> compress(ConstBytes in, Bytes out) = 0;
};

class Decompressor {
 public:
  // Throws Error(kUnsupported) for a type that this build omits.
  static std::unique_ptr<Decompressor> make(CompressionType type);
  virtual ~Decompressor() = default;
  // Fills `out` completely. `in`, at most kInputSizeMax bytes, may continue past the compressed
  // data (the descriptor counts whole sectors). Throws Error(kCorrupt) if the data is damaged, too
  // short or, for zstd, too long. Uses memory in proportion to `out`, whatever `in` asks for.
  virtual void decompress(ConstBytes in, Bytes out) = 0;
};

}  // namespace byre::codec
