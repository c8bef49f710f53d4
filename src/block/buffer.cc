// SPDX-License-Identifier: Apache-2.0
#include "block/buffer.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/checked.h"
#include "byre/error.h"

namespace byre {

Buffer::Buffer(size_t size, size_t alignment) : size_(size) {
  if (size == 0) return;
  BYRE_ASSERT(is_power_of_two(alignment));
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment < sizeof(void*) ? sizeof(void*) : alignment, size) != 0) {
    throw Error(ErrorKind::kNoMemory, ENOMEM,
                ErrorData{.code = "memory-buffer-not-allocated", .value = size},
                "a buffer of " + std::to_string(size) + " bytes cannot be allocated");
  }
  data_ = static_cast<uint8_t*>(memory);
}

Buffer Buffer::zeroed(size_t size, size_t alignment) {
  Buffer buffer(size, alignment);
  if (size != 0) std::memset(buffer.data_, 0, size);
  return buffer;
}

Buffer::~Buffer() {
  std::free(data_);
}

}  // namespace byre
