// SPDX-License-Identifier: Apache-2.0
// This program's operator new, which fails when faults::MemoryFaults says so. One file of a program
// includes it. It is not available where BYRE_CAN_FAIL_ALLOCATIONS is 0: the thread sanitizer has
// an operator new of its own.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define BYRE_CAN_FAIL_ALLOCATIONS 0
#elif defined(__has_feature)
#define BYRE_CAN_FAIL_ALLOCATIONS !__has_feature(thread_sanitizer)
#else
#define BYRE_CAN_FAIL_ALLOCATIONS 1
#endif

#if BYRE_CAN_FAIL_ALLOCATIONS

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "testing/memory_faults.h"

namespace byre::test {

inline void* allocate_or_fail(size_t size, size_t alignment) {
  if (faults::MemoryFaults::is_next()) throw std::bad_alloc();
  void* const memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(std::max<size_t>(size, 1))
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace byre::test

void* operator new(size_t size) {
  return byre::test::allocate_or_fail(size, 1);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return byre::test::allocate_or_fail(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

#endif
