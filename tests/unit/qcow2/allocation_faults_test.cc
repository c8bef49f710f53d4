// SPDX-License-Identifier: Apache-2.0
// The thread sanitizer brings an operator new of its own.
#if !defined(__SANITIZE_THREAD__) && defined(__has_feature)
#define BYRE_HAS_THREAD_SANITIZER __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define BYRE_HAS_THREAD_SANITIZER 1
#else
#define BYRE_HAS_THREAD_SANITIZER 0
#endif
#if !BYRE_HAS_THREAD_SANITIZER

#include <atomic>
#include <cstdlib>
#include <new>

#include "unit/qcow2/fault_layouts.h"

// Memory that runs out. This file replaces the program's operator new, which fails once when a test
// asks for it.
namespace {

uint64_t allocations = 0;               // while one is counted or is to fail
uint64_t failing = 0;                   // which of them fails; 0: none
std::atomic<bool> is_counting = false;  // other threads look at it, and find false

void* allocate(size_t size, size_t alignment) {
  if (is_counting && ++allocations == failing) throw std::bad_alloc();
  void* const memory =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size == 0 ? 1 : size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) {
  return allocate(size, 1);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<size_t>(alignment));
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

namespace byre::qcow2::test {
namespace {

// Makes a request while the n-th allocation of all that are counted fails; false where it failed.
bool make_request(Loop& loop, Image* image, const Request& request) {
  const std::vector<uint8_t> bytes = bytes_of(request);
  bool is_done = true;
  is_counting = true;
  try {
    switch (request.kind) {
      case Request::Kind::kWrite:
        loop.run(image->write(request.offset, ConstBytes(bytes), WriteFlags::kNone));
        break;
      case Request::Kind::kCompressed:
        loop.run(image->write(request.offset, ConstBytes(bytes), WriteFlags::kCompressed));
        break;
      case Request::Kind::kZeroes:
        loop.run(image->write_zeroes(request.offset, request.length, WriteFlags::kNone));
        break;
      case Request::Kind::kUnmap:
        loop.run(image->write_zeroes(request.offset, request.length, WriteFlags::kMayUnmap));
        break;
      case Request::Kind::kDiscard:
        loop.run(image->discard(request.offset, request.length));
        break;
      case Request::Kind::kFlush:
        loop.run(image->flush());
        break;
    }
  } catch (const std::exception&) {
    is_done = false;
  }
  is_counting = false;
  return is_done;
}

// Runs the script while the n-th allocation fails; how many requests failed.
uint64_t run_script(const Layout& layout, const std::vector<Request>& script, uint64_t n) {
  Loop loop;
  SectorModel model(layout);
  OpenImage opened = loop.run(open_disks(make_disks(layout), layout.backing_size, for_writing()));
  allocations = 0;
  failing = n;
  uint64_t failures = 0;
  for (const Request& request : script) {
    const bool is_flush = request.kind == Request::Kind::kFlush;
    if (!is_flush) model.may_write(request);
    const bool is_done = make_request(loop, opened.image.get(), request);
    if (!is_done) ++failures;
    if (is_flush && is_done) model.flushed();
    if (is_flush) continue;
    if (is_done && request.kind != Request::Kind::kDiscard) {
      model.wrote(request);
    } else {
      model.outcome_unknown(request);
    }
  }
  failing = 0;
  expect_model_holds(opened.snapshot(), layout, model);
  try {
    loop.run(opened.image->close());
    model.flushed();
  } catch (const Error&) {
    // A header that may have been half-way changed is left alone.
  }
  expect_model_holds(opened.snapshot(), layout, model);
  return failures;
}

// Each allocation would take minutes: every so many of them fail, from a first one that differs by
// layout.
constexpr uint64_t kTriesOfLayout = 300;

TEST(AllocationFaults, AnyOneFailedAllocationLeavesASoundImageWithAllThatWasAcknowledged) {
  uint64_t seed = 0;
  for (const Layout& layout : layouts()) {
    ++seed;
    std::vector<Request> script = make_script(layout, seed, 40);
    // Worker threads allocate too, and not at the same moment each time.
    std::erase_if(
        script, [](const Request& request) { return request.kind == Request::Kind::kCompressed; });
    run_script(layout, script, 0);
    const uint64_t count = allocations;
    ASSERT_GT(count, 0u);
    const uint64_t step = std::max<uint64_t>(count / kTriesOfLayout, 1);
    uint64_t failures = 0;
    for (uint64_t n = 1 + seed % step; n <= count; n += step) {
      SCOPED_TRACE(testing::Message() << "layout " << seed << ", allocation " << n);
      failures += run_script(layout, script, n);
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(failures, 0u);
  }
}

}  // namespace
}  // namespace byre::qcow2::test

#endif
