// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace byre {

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace byre

// A condition that only a bug in byre can violate. Enabled in release builds too: a stopped program
// is better than a damaged image. Never used on bytes from a disk or a socket.
#define BYRE_ASSERT(condition)                         \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::byre::assertion_failed(#condition, __FILE__, __LINE__))
