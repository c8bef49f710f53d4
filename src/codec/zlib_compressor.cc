// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

#include <cerrno>

#include "base/assert.h"
#include "byre/error.h"
#include "codec/backends.h"

namespace byre::codec {
namespace {

constexpr int kRawDeflate32KiB = -15;
constexpr int kMemoryLevel = 9;

// zlib: slower than the other two at equal size, but always available.
class ZlibCompressor final : public Compressor {
 public:
  explicit ZlibCompressor(int level) {
    const int result = deflateInit2(&stream_, level, Z_DEFLATED, kRawDeflate32KiB, kMemoryLevel,
                                    Z_DEFAULT_STRATEGY);
    if (result != Z_OK) throw no_memory_for("a compressor");
  }
  ~ZlibCompressor() override { deflateEnd(&stream_); }

  std::optional<size_t> compress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax && out.size() <= kInputSizeMax);
    BYRE_ASSERT(deflateReset(&stream_) == Z_OK);
    stream_.next_in = const_cast<uint8_t*>(in.data());
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(out.size());
    if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) return std::nullopt;
    return out.size() - stream_.avail_out;
  }

 private:
  z_stream stream_{};
};

}  // namespace

std::unique_ptr<Compressor> make_zlib_compressor(int level) {
  BYRE_ASSERT(level >= 1 && level <= 9);
  return std::make_unique<ZlibCompressor>(level);
}

}  // namespace byre::codec
