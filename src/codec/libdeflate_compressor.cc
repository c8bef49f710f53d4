// SPDX-License-Identifier: Apache-2.0
#include "codec/backends.h"

#if BYRE_WITH_LIBDEFLATE

#include <libdeflate.h>

#include <cerrno>

#include "base/assert.h"
#include "byre/error.h"

namespace byre::codec {
namespace {

struct FreeCompressor {
  void operator()(libdeflate_compressor* context) const { libdeflate_free_compressor(context); }
};

class LibdeflateCompressor final : public Compressor {
 public:
  explicit LibdeflateCompressor(int level) : context_(libdeflate_alloc_compressor(level)) {
    if (!context_) throw no_memory_for("a compressor");
  }

  std::optional<size_t> compress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax);
    const size_t size =
        libdeflate_deflate_compress(context_.get(), in.data(), in.size(), out.data(), out.size());
    if (size == 0) return std::nullopt;
    return size;
  }

 private:
  std::unique_ptr<libdeflate_compressor, FreeCompressor> context_;
};

}  // namespace

std::unique_ptr<Compressor> make_libdeflate_compressor(int level) {
  BYRE_ASSERT(level >= 1 && level <= 12);
  return std::make_unique<LibdeflateCompressor>(level);
}

}  // namespace byre::codec

#endif  // BYRE_WITH_LIBDEFLATE
