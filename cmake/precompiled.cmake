# SPDX-License-Identifier: Apache-2.0
# Precompiled headers of the libraries: they take most of the time of compiling a file. No file relies on them:
# each includes what it uses, and the preset gcc, which builds without them, enforces that.
option(BYRE_PRECOMPILED "Compile the headers of the standard library, fmt and GoogleTest once" ON)
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(BYRE_PRECOMPILED OFF)
endif()
if(BYRE_PRECOMPILED)
  # So that a compiler cache recognises them.
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
endif()

set(BYRE_LIBRARY_HEADERS
  <algorithm> <array> <atomic> <bit> <chrono> <coroutine> <cstdint> <cstring> <exception> <functional> <map>
  <memory> <mutex> <optional> <set> <span> <string> <string_view> <unordered_map> <utility> <vector>
  <fmt/format.h>)
set(BYRE_TEST_HEADERS ${BYRE_LIBRARY_HEADERS} <gmock/gmock.h> <gtest/gtest.h>)

# byre_precompiled(target headers...): the first target that asks for these headers compiles them for all.
function(byre_precompiled target)
  if(NOT BYRE_PRECOMPILED)
    return()
  endif()
  string(MD5 key "${ARGN}")
  get_property(owner GLOBAL PROPERTY byre_precompiled_${key})
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  else()
    target_precompile_headers(${target} PRIVATE ${ARGN})
    set_property(GLOBAL PROPERTY byre_precompiled_${key} ${target})
  endif()
endfunction()
