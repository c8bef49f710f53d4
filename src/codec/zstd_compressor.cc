// SPDX-License-Identifier: Apache-2.0
#include "codec/backends.h"

#if BYRE_WITH_ZSTD

#include <zstd.h>

#include <cerrno>

#include "base/assert.h"
#include "byre/error.h"

namespace byre::codec {
namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

// One frame per cluster, with its content size and without a checksum: clusters have none elsewhere
// in the format either.
class ZstdCompressor final : public Compressor {
 public:
  explicit ZstdCompressor(int level) : context_(ZSTD_createCCtx()) {
    if (!context_) throw no_memory_for("a compressor");
    const size_t result = ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level);
    BYRE_ASSERT(!ZSTD_isError(result));
  }

  std::optional<size_t> compress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax);
    const size_t size =
        ZSTD_compress2(context_.get(), out.data(), out.size(), in.data(), in.size());
    if (ZSTD_isError(size)) return std::nullopt;
    return size;
  }

 private:
  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
};

}  // namespace

std::unique_ptr<Compressor> make_zstd_compressor(int level) {
  BYRE_ASSERT(level >= 1 && level <= ZSTD_maxCLevel());
  return std::make_unique<ZstdCompressor>(level);
}

}  // namespace byre::codec

#endif  // BYRE_WITH_ZSTD
