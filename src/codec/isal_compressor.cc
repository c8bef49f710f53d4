// SPDX-License-Identifier: Apache-2.0
#include "codec/backends.h"

#if BYRE_WITH_ISAL

#include <dlfcn.h>
#include <isa-l/igzip_lib.h>

#include <vector>

#include "base/assert.h"

namespace byre::codec {
namespace {

// The library's functions, loaded on first use: a program that does not compress starts faster
// without them. All are nullptr if it cannot be loaded.
struct Isal {
  decltype(&isal_deflate_init) deflate_init = nullptr;
  decltype(&isal_deflate_reset) deflate_reset = nullptr;
  decltype(&isal_deflate) deflate = nullptr;
};

template <typename Function>
void find_function(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
}

// It stays loaded for the lifetime of the process.
Isal load_isal() {
  Isal isal;
  void* const library = dlopen(BYRE_ISAL_SONAME, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return isal;
  find_function(library, "isal_deflate_init", &isal.deflate_init);
  find_function(library, "isal_deflate_reset", &isal.deflate_reset);
  find_function(library, "isal_deflate", &isal.deflate);
  const bool is_complete = isal.deflate_init != nullptr && isal.deflate_reset != nullptr;
  return is_complete && isal.deflate != nullptr ? isal : Isal();
}

const Isal& isal() {
  static const Isal loaded = load_isal();
  return loaded;
}

// ISA-L's deflate: the fastest of the three libraries, with the narrowest range between speed and
// size. Its dynamic Huffman blocks are as large as its token buffer, so the buffer has its largest
// size.
class IsalCompressor final : public Compressor {
 public:
  explicit IsalCompressor(int level) : level_buffer_(level_buffer_size(level)) {
    isal().deflate_init(&stream_);
    stream_.level = static_cast<uint32_t>(level);
    stream_.level_buf = level_buffer_.data();
    stream_.level_buf_size = static_cast<uint32_t>(level_buffer_.size());
  }

  std::optional<size_t> compress(ConstBytes in, Bytes out) override {
    BYRE_ASSERT(in.size() <= kInputSizeMax && out.size() <= kInputSizeMax);
    isal().deflate_reset(&stream_);
    stream_.gzip_flag = IGZIP_DEFLATE;
    stream_.flush = NO_FLUSH;
    stream_.end_of_stream = 1;
    stream_.next_in = const_cast<uint8_t*>(in.data());
    stream_.avail_in = static_cast<uint32_t>(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uint32_t>(out.size());
    BYRE_ASSERT(isal().deflate(&stream_) == COMP_OK);
    if (stream_.internal_state.state != ZSTATE_END) return std::nullopt;
    return out.size() - stream_.avail_out;
  }

 private:
  static size_t level_buffer_size(int level) {
    switch (level) {
      case 0:
        return ISAL_DEF_LVL0_EXTRA_LARGE;
      case 1:
        return ISAL_DEF_LVL1_EXTRA_LARGE;
      case 2:
        return ISAL_DEF_LVL2_EXTRA_LARGE;
      default:
        return ISAL_DEF_LVL3_EXTRA_LARGE;
    }
  }

  std::vector<uint8_t> level_buffer_;
  isal_zstream stream_;
};

}  // namespace

bool isal_is_there() {
  return isal().deflate != nullptr;
}

std::unique_ptr<Compressor> make_isal_compressor(int level) {
  BYRE_ASSERT(level >= 0 && level <= 3 && isal_is_there());
  return std::make_unique<IsalCompressor>(level);
}

}  // namespace byre::codec

#endif  // BYRE_WITH_ISAL
