// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <type_traits>

#include "async/task.h"

namespace byre {

// A task that has nothing to do.
inline Task<void> ready() {
  co_return;
}

// A task that throws the error at the await.
template <class T>
Task<T> failed(std::exception_ptr error) {
  std::rethrow_exception(std::move(error));
  if constexpr (std::is_void_v<T>) {
    co_return;
  } else {
    co_return T();
  }
}

}  // namespace byre
