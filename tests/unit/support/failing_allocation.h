// SPDX-License-Identifier: Apache-2.0
// Memory that runs out: this header replaces the program's operator new by one that fails when a
// test asks for it. Only one file of a program includes it, and leaves its tests out where
// BYRE_CAN_FAIL_ALLOCATIONS is 0: the thread sanitizer brings an operator new of its own.
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
#include <cstdint>
#include <cstdlib>
#include <new>

namespace byre::test {

// Allocations of this thread, counted while `is_counted`; the one with the number `failing` fails,
// once. Worker threads have counts of their own, and are left alone.
struct Allocations {
  uint64_t count = 0;
  uint64_t failing = 0;  // 0: none
  bool is_counted = false;
};

inline thread_local Allocations allocations;

inline void* allocate_or_fail(size_t size, size_t alignment) {
  if (allocations.is_counted && ++allocations.count == allocations.failing) throw std::bad_alloc();
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
