// SPDX-License-Identifier: Apache-2.0
#include "block/io_vector.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace byre {

// iovec has no type for memory that is only read: the two subclasses keep them apart.
void IoVector::append(const void* bytes, size_t size) {
  if (size == 0) return;
  void* const data = const_cast<void*>(bytes);
  if (size_ == 0) {
    one_ = {data, size};
  } else {
    if (more_.empty()) more_.push_back(one_);
    iovec& last = more_.back();
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == data) {
      last.iov_len += size;
      if (more_.size() == 1) {
        one_ = last;
        more_.clear();
      }
    } else {
      more_.push_back({data, size});
    }
  }
  size_ += size;
}

void IoVector::append(const IoVector& other) {
  for (const iovec& segment : other.segments()) append(segment.iov_base, segment.iov_len);
}

IoVector IoVector::part(size_t offset, size_t length) const {
  BYRE_ASSERT(offset <= size_ && length <= size_ - offset);
  if (more_.empty()) {
    return length == 0 ? IoVector()
                       : IoVector(static_cast<const uint8_t*>(one_.iov_base) + offset, length);
  }
  IoVector result;
  for (const iovec& segment : segments()) {
    if (length == 0) break;
    if (offset >= segment.iov_len) {
      offset -= segment.iov_len;
      continue;
    }
    const size_t taken = std::min(segment.iov_len - offset, length);
    result.append(static_cast<uint8_t*>(segment.iov_base) + offset, taken);
    offset = 0;
    length -= taken;
  }
  return result;
}

void ReadBuffers::fill_zero() const {
  for (const iovec& segment : segments()) std::memset(segment.iov_base, 0, segment.iov_len);
}

void ReadBuffers::copy_from(ConstBytes from) const {
  BYRE_ASSERT(from.size() == size());
  const uint8_t* at = from.data();
  for (const iovec& segment : segments()) {
    std::memcpy(segment.iov_base, at, segment.iov_len);
    at += segment.iov_len;
  }
}

void IoVector::copy_to(Bytes to) const {
  BYRE_ASSERT(to.size() == size_);
  uint8_t* at = to.data();
  for (const iovec& segment : segments()) {
    std::memcpy(at, segment.iov_base, segment.iov_len);
    at += segment.iov_len;
  }
}

bool IoVector::is_all_zero() const {
  for (const iovec& segment : segments()) {
    if (!byre::is_all_zero({static_cast<const uint8_t*>(segment.iov_base), segment.iov_len})) {
      return false;
    }
  }
  return true;
}

}  // namespace byre
