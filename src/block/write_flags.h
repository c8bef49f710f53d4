// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace byre {

enum class WriteFlags : uint32_t {
  kNone = 0,
  kFua = 1,         // durable when the request completes, as if a flush followed; a request for no
                    // bytes changes nothing, and does not flush what others wrote
  kMayUnmap = 2,    // write_zeroes: the range may be deallocated
  kNoFallback = 4,  // write_zeroes: fail with kUnsupported rather than write zero bytes
  kCompressed = 8,  // write: store compressed, see Limits::compressed_write_size
};
constexpr WriteFlags operator|(WriteFlags a, WriteFlags b) {
  return static_cast<WriteFlags>(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}
constexpr bool has_flag(WriteFlags flags, WriteFlags flag) {
  return (static_cast<uint32_t>(flags) & static_cast<uint32_t>(flag)) != 0;
}
constexpr WriteFlags without_flag(WriteFlags flags, WriteFlags flag) {
  return static_cast<WriteFlags>(static_cast<uint32_t>(flags) & ~static_cast<uint32_t>(flag));
}

}  // namespace byre
