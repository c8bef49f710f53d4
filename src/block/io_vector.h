// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace byre {

// The memory of one request: segments that belong to the caller, and stay valid and in place until
// the request is done. Cheap to copy and to slice; one segment, the common case, costs no
// allocation. The same type serves reads and writes; a write does not modify the bytes.
class IoVector {
 public:
  IoVector() = default;
  IoVector(Bytes bytes) : IoVector(bytes.data(), bytes.size()) {}  // NOLINT: converts on purpose
  IoVector(ConstBytes bytes)                                       // NOLINT
      : IoVector(const_cast<uint8_t*>(bytes.data()), bytes.size()) {}
  IoVector(void* data, size_t size) { append(data, size); }

  void append(void* data, size_t size);
  void append(const IoVector& other);

  // In bytes, the sum of all segments.
  size_t size() const { return size_; }
  std::span<const iovec> segments() const {
    return more_.empty() ? std::span(&one_, size_ == 0 ? 0 : 1) : std::span(more_);
  }

  // The bytes [offset, offset + length), which must be inside.
  IoVector slice(size_t offset, size_t length) const;
  IoVector slice(size_t offset) const { return slice(offset, size_ - offset); }

  void fill_zero() const;
  // REQUIRES: from.size() == size() or to.size() == size().
  void copy_from(ConstBytes from) const;
  void copy_to(Bytes to) const;
  bool is_all_zero() const;
  // The single contiguous range that this is, or an empty one if it has several segments.
  Bytes contiguous() const {
    return more_.empty() ? Bytes(static_cast<uint8_t*>(one_.iov_base), size_) : Bytes();
  }

 private:
  iovec one_{nullptr, 0};
  std::vector<iovec> more_;  // all segments, if there are two or more
  size_t size_ = 0;
};

}  // namespace byre
