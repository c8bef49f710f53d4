// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include "base/bytes.h"

namespace byre {

// Owned memory for I/O: aligned for O_DIRECT, not cleared. Throws Error(kNoMemory) if there is
// none. Untrusted sizes are checked against a bound by the caller.
class Buffer {
 public:
  static constexpr size_t kDefaultAlignment = 4096;

  Buffer() = default;
  explicit Buffer(size_t size, size_t alignment = kDefaultAlignment);
  static Buffer zeroed(size_t size, size_t alignment = kDefaultAlignment);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer();

  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  Bytes bytes() { return {data_, size_}; }
  ConstBytes bytes() const { return {data_, size_}; }
  Bytes bytes(size_t offset, size_t length) { return bytes().subspan(offset, length); }
  ConstBytes bytes(size_t offset, size_t length) const { return bytes().subspan(offset, length); }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace byre
