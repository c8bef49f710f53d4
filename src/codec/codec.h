// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.h"

// One cluster's bytes in, one compressed cluster's bytes out, and back. No I/O. An object keeps
// the library's context between clusters and is used by one thread at a time; making one is dear,
// using it again is cheap.
namespace byre::codec {

// The numbers are those of the header's compression type field (specification: "compression_type").
enum class CompressionType : uint8_t { kDeflate = 0, kZstd = 1 };

// As `-o compression_type=` and `info` name it: "zlib", "zstd".
const char* name_of(CompressionType type);
// Whether this build can do it: zstd may be left out, deflate never is.
bool is_supported(CompressionType type);

// Effort, one scale for both types: kFastest compresses least, kSmallest takes longest. See
// docs/compression.md for what each level stands for.
inline constexpr int kFastestLevel = 1;
inline constexpr int kSmallestLevel = 9;
inline constexpr int kDefaultLevel = 2;

// More than any cluster, and less than what the libraries' counters hold.
inline constexpr size_t kInputSizeMax = size_t{1} << 30;

class Compressor {
 public:
  // Throws Error(kInvalidArgument) for a level off the scale, Error(kUnsupported) for a type that
  // this build leaves out.
  static std::unique_ptr<Compressor> make(CompressionType type, int level = kDefaultLevel);
  virtual ~Compressor() = default;
  // The compressed size, or nothing where it does not fit into `out` or where trying would be
  // wasted: then `out` is undefined and the cluster is stored as it is. `in` has at most
  // kInputSizeMax bytes. Any window up to 32 KiB may be used for deflate.
  virtual std::optional<size_t> compress(ConstBytes in, Bytes out) = 0;
};

class Decompressor {
 public:
  // Throws Error(kUnsupported) for a type that this build leaves out.
  static std::unique_ptr<Decompressor> make(CompressionType type);
  virtual ~Decompressor() = default;
  // Fills `out` to its end. `in`, at most kInputSizeMax bytes, may go on behind the compressed
  // data (the descriptor counts whole sectors). Throws Error(kCorrupt) where the data is damaged,
  // too short or, for zstd, too long. Uses memory in proportion to `out`, whatever `in` asks for.
  virtual void decompress(ConstBytes in, Bytes out) = 0;
};

}  // namespace byre::codec
