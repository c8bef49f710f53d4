// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "codec/codec.h"

// Decompressing any bytes ends in an error or in a full cluster; compressing any bytes and
// decompressing the result gives the same bytes. The first byte chooses the type and the cluster
// size, the second the level.
namespace {

using namespace byre;

codec::Decompressor& decompressor_of(CompressionType type) {
  static const std::array<std::unique_ptr<codec::Decompressor>, 2> made{
      codec::Decompressor::make(CompressionType::kZlib),
      codec::Decompressor::make(CompressionType::kZstd)};
  return *made[static_cast<size_t>(type)];
}

codec::Compressor& compressor_of(CompressionType type, int level) {
  static std::array<std::array<std::unique_ptr<codec::Compressor>, 10>, 2> made;
  auto& compressor = made[static_cast<size_t>(type)][static_cast<size_t>(level)];
  if (!compressor) compressor = codec::Compressor::make(type, level);
  return *compressor;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto type = static_cast<CompressionType>(data[0] & 1);
  const size_t cluster_size = size_t{512} << (data[0] >> 1) % 8;
  const int level = 1 + data[1] % 9;
  const ConstBytes in(data + 2, size - 2);

  std::vector<uint8_t> cluster(cluster_size);
  try {
    decompressor_of(type).decompress(in, cluster);
  } catch (const Error& error) {
    BYRE_ASSERT(error.kind() == ErrorKind::kCorrupt);
  }

  std::vector<uint8_t> packed(in.size() + 64);
  const auto packed_size = compressor_of(type, level).compress(in, packed);
  if (packed_size.has_value()) {
    BYRE_ASSERT(*packed_size <= packed.size());
    std::vector<uint8_t> back(in.size());
    decompressor_of(type).decompress(ConstBytes(packed).first(*packed_size), back);
    BYRE_ASSERT(std::equal(back.begin(), back.end(), in.begin(), in.end()));
  }
  return 0;
}
