# SPDX-License-Identifier: Apache-2.0
# What the program needs at start. Every shared library costs a run of `byre info` a fraction of a
# millisecond, the C++ runtime the most, so libraries are linked statically if possible: libstdc++, libgcc, fmt,
# and those of zlib, zstd, libdeflate and liburing that the machine has as static libraries.
option(BYRE_LEAN "Link the C++ runtime and small libraries into the programs" ON)
if(BYRE_SANITIZE)
  set(BYRE_LEAN OFF)
endif()

# fmt is compiled into byre if that links (it depends on fmt's version), else the installed library is used.
add_library(byre_fmt INTERFACE)
if(BYRE_LEAN)
  try_compile(BYRE_FMT_LINKS_IN
    SOURCES ${PROJECT_SOURCE_DIR}/cmake/fmt/fmt.cc ${PROJECT_SOURCE_DIR}/cmake/fmt/use.cc
    CXX_STANDARD 20)
endif()
if(BYRE_LEAN AND BYRE_FMT_LINKS_IN)
  add_library(byre_fmt_static STATIC ${PROJECT_SOURCE_DIR}/cmake/fmt/fmt.cc)
  # Without long double, the only reason why fmt needs libm, and without locales, which need a quarter of libstdc++.
  target_compile_definitions(byre_fmt_static PUBLIC FMT_USE_LONG_DOUBLE=0
    PRIVATE "FMT_STATIC_THOUSANDS_SEPARATOR=','")
  target_link_libraries(byre_fmt INTERFACE byre_fmt_static)
else()
  target_link_libraries(byre_fmt INTERFACE fmt::fmt)
endif()

# byre_static_library(target name): makes an imported pkg-config target link lib<name>.a, if the
# machine has it and it can be part of a position-independent program.
function(byre_static_library target name)
  if(NOT BYRE_LEAN OR NOT TARGET ${target})
    return()
  endif()
  find_library(BYRE_STATIC_${name} lib${name}.a)
  if(BYRE_STATIC_${name})
    set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES ${BYRE_STATIC_${name}})
  endif()
endfunction()

include(CheckCXXSourceRuns)

# Stores the addresses that the loader adjusts as a bitmap instead of a table twenty times as long. Old linkers
# and C libraries do not support it.
set(CMAKE_REQUIRED_LINK_OPTIONS -Wl,-z,pack-relative-relocs)
check_cxx_source_runs("int main() {}" BYRE_PACKED_RELOCATIONS)
unset(CMAKE_REQUIRED_LINK_OPTIONS)

function(byre_lean_program target)
  if(NOT BYRE_LEAN)
    return()
  endif()
  target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,--as-needed)
  if(BYRE_PACKED_RELOCATIONS)
    target_link_options(${target} PRIVATE -Wl,-z,pack-relative-relocs)
  endif()
endfunction()
