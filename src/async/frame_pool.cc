// SPDX-License-Identifier: Apache-2.0
#include "async/frame_pool.h"

#include <array>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BYRE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BYRE_SANITIZED 1
#endif
#endif

namespace byre::frame_pool {

#ifdef BYRE_SANITIZED

void* allocate(size_t size) {
  return ::operator new(size);
}
void release(void* frame, size_t) {
  ::operator delete(frame);
}
void trim() {}

#else

namespace {

constexpr size_t kClassSize = 128;
constexpr size_t kClassCount = 16;  // frames up to 2 KiB
constexpr size_t kFreeFramesMax = 256;

struct FreeFrame {
  FreeFrame* next;
};

struct FreeList {
  FreeFrame* head = nullptr;
  size_t count = 0;
};

struct Pool {
  std::array<FreeList, kClassCount> lists;
  ~Pool() { clear(); }
  void clear() {
    for (FreeList& list : lists) {
      while (list.head != nullptr) {
        FreeFrame* frame = list.head;
        list.head = frame->next;
        ::operator delete(frame);
      }
      list.count = 0;
    }
  }
};

thread_local Pool pool;

constexpr size_t size_class(size_t size) {
  return (size - 1) / kClassSize;
}

}  // namespace

void* allocate(size_t size) {
  const size_t index = size_class(size);
  if (index >= kClassCount) return ::operator new(size);
  FreeList& list = pool.lists[index];
  if (list.head == nullptr) return ::operator new((index + 1) * kClassSize);
  FreeFrame* frame = list.head;
  list.head = frame->next;
  --list.count;
  return frame;
}

void release(void* frame, size_t size) {
  const size_t index = size_class(size);
  if (index >= kClassCount || pool.lists[index].count >= kFreeFramesMax) {
    ::operator delete(frame);
    return;
  }
  FreeList& list = pool.lists[index];
  list.head = new (frame) FreeFrame{list.head};
  ++list.count;
}

void trim() {
  pool.clear();
}

#endif

}  // namespace byre::frame_pool
