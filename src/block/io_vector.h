// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace byre {

// The memory of one request: segments that belong to the caller, and stay valid and in place until
// the request is done. Cheap to copy and to slice; one segment, the common case, costs no
// allocation. Requests take one of the two types below, which say whether the bytes may change.
class IoVector {
 public:
  // In bytes, the sum of all segments.
  size_t size() const { return size_; }
  // As system calls take them.
  std::span<const iovec> segments() const {
    return more_.empty() ? std::span(&one_, size_ == 0 ? 0 : 1) : std::span(more_);
  }

  // REQUIRES: to.size() == size().
  void copy_to(Bytes to) const;
  bool is_all_zero() const;

 protected:
  IoVector() = default;
  IoVector(const void* data, size_t size) { append(data, size); }

  void append(const void* data, size_t size);
  void append(const IoVector& other);
  // The bytes [offset, offset + length), which must be inside.
  IoVector part(size_t offset, size_t length) const;
  // The single contiguous range that this is, or an empty one if it has several segments.
  std::span<uint8_t> single() const {
    return more_.empty() ? Bytes(static_cast<uint8_t*>(one_.iov_base), size_) : Bytes();
  }

 private:
  iovec one_{nullptr, 0};
  std::vector<iovec> more_;  // all segments, if there are two or more
  size_t size_ = 0;
};

// Memory to read into.
class ReadBuffers : public IoVector {
 public:
  ReadBuffers() = default;
  ReadBuffers(Bytes bytes) : IoVector(bytes.data(), bytes.size()) {}  // NOLINT: converts on purpose
  ReadBuffers(void* data, size_t size) : IoVector(data, size) {}

  void append(void* data, size_t size) { IoVector::append(data, size); }
  void append(const ReadBuffers& other) { IoVector::append(other); }
  ReadBuffers slice(size_t offset, size_t length) const {
    return ReadBuffers(part(offset, length));
  }
  ReadBuffers slice(size_t offset) const { return slice(offset, size() - offset); }
  Bytes contiguous() const { return single(); }

  void fill_zero() const;
  // REQUIRES: from.size() == size().
  void copy_from(ConstBytes from) const;

 private:
  explicit ReadBuffers(IoVector part) : IoVector(std::move(part)) {}
};

// Memory to write from, which no request changes.
class WriteBuffers : public IoVector {
 public:
  WriteBuffers() = default;
  WriteBuffers(ConstBytes bytes) : IoVector(bytes.data(), bytes.size()) {}  // NOLINT
  WriteBuffers(Bytes bytes) : IoVector(bytes.data(), bytes.size()) {}       // NOLINT
  WriteBuffers(const ReadBuffers& bytes) : IoVector(bytes) {}               // NOLINT
  WriteBuffers(const void* data, size_t size) : IoVector(data, size) {}

  void append(const void* data, size_t size) { IoVector::append(data, size); }
  void append(const IoVector& other) { IoVector::append(other); }
  WriteBuffers slice(size_t offset, size_t length) const {
    return WriteBuffers(part(offset, length));
  }
  WriteBuffers slice(size_t offset) const { return slice(offset, size() - offset); }
  ConstBytes contiguous() const { return single(); }

 private:
  explicit WriteBuffers(IoVector part) : IoVector(std::move(part)) {}
};

}  // namespace byre
