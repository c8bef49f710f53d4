// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>

#include "async/frame_pool.h"

namespace byre {

// The return type of a coroutine that is not awaited: it runs immediately up to its first
// suspension, and frees itself when it ends. Its body catches every exception.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
    static void* operator new(size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* frame, size_t size) { frame_pool::release(frame, size); }
  };
};

}  // namespace byre
