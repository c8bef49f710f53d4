# SPDX-License-Identifier: Apache-2.0
# The libraries behind src/codec: zlib always, the others as the BYRE_WITH_ options say.
set(BYRE_CODEC_LIBRARIES PkgConfig::zlib)
if(BYRE_WITH_ISAL)
  pkg_check_modules(isal REQUIRED IMPORTED_TARGET libisal)
  list(APPEND BYRE_CODEC_LIBRARIES PkgConfig::isal)
endif()
if(BYRE_WITH_LIBDEFLATE)
  pkg_check_modules(deflate REQUIRED IMPORTED_TARGET libdeflate)
  list(APPEND BYRE_CODEC_LIBRARIES PkgConfig::deflate)
endif()
if(BYRE_WITH_ZSTD)
  pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
  list(APPEND BYRE_CODEC_LIBRARIES PkgConfig::zstd)
endif()

# BYRE_WITH_... as 0 or 1 in src/codec and in what tests it; other floors ask codec::is_supported().
function(byre_codec_definitions)
  foreach(library ISAL LIBDEFLATE ZSTD)
    target_compile_definitions(byre_codec PUBLIC BYRE_WITH_${library}=$<BOOL:${BYRE_WITH_${library}}>)
  endforeach()
endfunction()
