// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "byre/error.h"
#include "codec/codec.h"

// One factory for each library of the codecs; the level is the library's own. A library that
// the build omits has its BYRE_WITH_... at 0 and no factory.
namespace byre::codec {

#if BYRE_WITH_ISAL
bool isal_is_there();  // it is loaded at run time, if the machine has it
std::unique_ptr<Compressor> make_isal_compressor(int level);  // 0..3; only if it is available
#endif
#if BYRE_WITH_LIBDEFLATE
std::unique_ptr<Compressor> make_libdeflate_compressor(int level);  // 1..12
#endif
std::unique_ptr<Compressor> make_zlib_compressor(int level);  // 1..9
std::unique_ptr<Decompressor> make_deflate_decompressor();
#if BYRE_WITH_ZSTD
std::unique_ptr<Compressor> make_zstd_compressor(int level);  // 1..22
std::unique_ptr<Decompressor> make_zstd_decompressor();
#endif

// What the libraries refuse.
Error no_memory_for(const char* what);  // "a compressor"
// `reason`: that of the library.
Error damaged_data(const std::string& reason);
Error data_too_short(const char* reason);

}  // namespace byre::codec
