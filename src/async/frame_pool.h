// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

// Memory for coroutine frames: a bounded free list per size class and thread, so that a request
// that hits the caches allocates nothing. A frame may be released on another thread than it was
// allocated on. Sanitizer builds use plain new and delete, so that they see every frame.
namespace byre::frame_pool {

void* allocate(size_t size);
void release(void* frame, size_t size);
// Frees the unused frames that this thread keeps.
void trim();

}  // namespace byre::frame_pool
