# SPDX-License-Identifier: Apache-2.0
# Language, warnings, sanitizers: what every target is compiled with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")

add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
add_compile_definitions(_FILE_OFFSET_BITS=64 BYRE_VERSION="${PROJECT_VERSION}")

if(BYRE_SANITIZE)
  add_compile_options(-fsanitize=${BYRE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BYRE_SANITIZE})
endif()
if(BYRE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(BYRE_CCACHE ccache)
if(BYRE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${BYRE_CCACHE})
endif()
