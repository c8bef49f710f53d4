// SPDX-License-Identifier: Apache-2.0
#include "codec/backends.h"

#if BYRE_WITH_ZSTD

#include <zstd.h>

#include <cerrno>
#include <string>

#include "base/assert.h"
#include "byre/error.h"

namespace byre::codec {
namespace {

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// Decodes one frame at a time, directly into the cluster. Streaming would be simpler for data whose
// end is not known, but it allocates the window that the frame asks for, up to 128 MiB.
class ZstdDecompressor final : public Decompressor {
 public:
  ZstdDecompressor() : context_(ZSTD_createDCtx()) {
    if (!context_) throw no_memory_for("a decompressor");
  }

  void decompress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax && out.size() <= kInputSizeMax);
    // Each iteration consumes a frame of `in`, so the loop ends whatever the frames hold.
    while (!out.empty()) {
      const size_t frame_size = size_of_first_frame(in);
      const size_t written =
          ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), in.data(), frame_size);
      if (ZSTD_isError(written)) throw damaged_data(ZSTD_getErrorName(written));
      in = in.subspan(frame_size);
      out = out.subspan(written);
    }
  }

 private:
  static constexpr uint32_t kSkippableMask = 0xfffffff0;

  // Only frames of zstd's published format: the library may also support the formats from before
  // 2016.
  static size_t size_of_first_frame(ConstBytes in) {
    constexpr size_t kMagicSize = 4;
    if (in.size() < kMagicSize) {
      throw data_too_short("the zstd frames end before the cluster is full");
    }
    const uint32_t magic =
        uint32_t{in[0]} | uint32_t{in[1]} << 8 | uint32_t{in[2]} << 16 | uint32_t{in[3]} << 24;
    if (magic != ZSTD_MAGICNUMBER && (magic & kSkippableMask) != ZSTD_MAGIC_SKIPPABLE_START) {
      throw damaged_data("no zstd frame found");
    }
    const size_t size = ZSTD_findFrameCompressedSize(in.data(), in.size());
    if (ZSTD_isError(size)) throw damaged_data(ZSTD_getErrorName(size));
    return size;
  }

  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
};

}  // namespace

std::unique_ptr<Decompressor> make_zstd_decompressor() {
  return std::make_unique<ZstdDecompressor>();
}

}  // namespace byre::codec

#endif  // BYRE_WITH_ZSTD
