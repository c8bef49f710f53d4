// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

#include <cerrno>

#include "base/assert.h"
#include "byre/error.h"
#include "codec/backends.h"

#if BYRE_WITH_LIBDEFLATE
#include <libdeflate.h>
#endif

namespace byre::codec {
namespace {

constexpr int kRawDeflate32KiB = -15;

// zlib decides whether a cluster is readable, as it does in QEMU: the output must be full; the
// stream need not have ended. Created on first use.
class ZlibInflater {
 public:
  ~ZlibInflater() {
    if (ready_) inflateEnd(&stream_);
  }

  void inflate_all(ConstBytes in, Bytes out) {
    prepare();
    stream_.next_in = const_cast<uint8_t*>(in.data());
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(out.size());
    const int result = ::inflate(&stream_, Z_FINISH);
    if (result == Z_MEM_ERROR) {
      throw no_memory_for("a decompressor");
    }
    if (result == Z_DATA_ERROR || result == Z_NEED_DICT) {
      throw damaged_data(stream_.msg == nullptr ? "zlib refuses it" : stream_.msg);
    }
    if (stream_.avail_out != 0) {
      throw data_too_short(result == Z_STREAM_END
                               ? "the deflate stream ends before the cluster is full"
                               : "the deflate stream continues past its last sector");
    }
  }

 private:
  void prepare() {
    if (ready_) {
      BYRE_ASSERT(inflateReset(&stream_) == Z_OK);
      return;
    }
    if (inflateInit2(&stream_, kRawDeflate32KiB) != Z_OK) {
      throw no_memory_for("a decompressor");
    }
    ready_ = true;
  }

  z_stream stream_{};
  bool ready_ = false;
};

#if BYRE_WITH_LIBDEFLATE

struct FreeDecompressor {
  void operator()(libdeflate_decompressor* context) const { libdeflate_free_decompressor(context); }
};

// libdeflate is tried first, as it is two to three times as fast; what it refuses goes to zlib,
// which gives the reason or, for a stream that does not end with the cluster, the data.
class DeflateDecompressor final : public Decompressor {
 public:
  DeflateDecompressor() : context_(libdeflate_alloc_decompressor()) {
    if (!context_) throw no_memory_for("a decompressor");
  }

  void decompress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax && out.size() <= kInputSizeMax);
    const libdeflate_result result = libdeflate_deflate_decompress(
        context_.get(), in.data(), in.size(), out.data(), out.size(), nullptr);
    if (result != LIBDEFLATE_SUCCESS) inflater_.inflate_all(in, out);
  }

 private:
  std::unique_ptr<libdeflate_decompressor, FreeDecompressor> context_;
  ZlibInflater inflater_;
};

#else

class DeflateDecompressor final : public Decompressor {
 public:
  void decompress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax && out.size() <= kInputSizeMax);
    inflater_.inflate_all(in, out);
  }

 private:
  ZlibInflater inflater_;
};

#endif

}  // namespace

std::unique_ptr<Decompressor> make_deflate_decompressor() {
  return std::make_unique<DeflateDecompressor>();
}

}  // namespace byre::codec
