// SPDX-License-Identifier: Apache-2.0
#include "storage/memory_device.h"

#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "byre/error.h"

namespace byre::storage {

namespace {

// Answers of extents() stay small.
constexpr size_t kExtentsMax = 1024;

}  // namespace

MemoryDevice::MemoryDevice(SparseBytes contents, std::string filename)
    : filename_(std::move(filename)), contents_(std::move(contents)) {
  limits_.can_write_zeroes_unmapped = true;
  limits_.is_zero_initialised = true;
  limits_.grows = true;
}

MemoryDevice::MemoryDevice(uint64_t size, std::string filename)
    : MemoryDevice(SparseBytes(size), std::move(filename)) {}

MemoryDevice::MemoryDevice(ConstBytes contents, std::string filename)
    : MemoryDevice(SparseBytes(contents.size()), std::move(filename)) {
  put(0, contents);
}

MemoryDevice::~MemoryDevice() = default;

Task<void> MemoryDevice::read(uint64_t offset, IoVector to) {
  check_range(offset, to.size());
  for (const iovec& segment : to.segments()) {
    contents_.read(offset, {static_cast<uint8_t*>(segment.iov_base), segment.iov_len});
    offset += segment.iov_len;
  }
  co_return;
}

Task<void> MemoryDevice::write(uint64_t offset, IoVector from, WriteFlags) {
  check_writable(offset, from.size());
  for (const iovec& segment : from.segments()) {
    put(offset, {static_cast<const uint8_t*>(segment.iov_base), segment.iov_len});
    offset += segment.iov_len;
  }
  co_return;
}

void MemoryDevice::put(uint64_t offset, ConstBytes bytes) {
  contents_.write(offset, bytes);
}

std::vector<uint8_t> MemoryDevice::get(uint64_t offset, size_t length) const {
  std::vector<uint8_t> bytes(length);
  contents_.read(offset, bytes);
  return bytes;
}

std::unique_ptr<MemoryDevice> MemoryDevice::clone() const {
  auto copy = std::make_unique<MemoryDevice>(contents_, filename_);
  copy->is_read_only_ = is_read_only_;
  return copy;
}

Task<void> MemoryDevice::write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  check_writable(offset, length);
  contents_.clear(offset, length);
  co_return;
}

Task<void> MemoryDevice::discard(uint64_t offset, uint64_t length) {
  check_range(offset, length);
  check_writable(offset, length);
  contents_.clear(offset, length);
  co_return;
}

Task<void> MemoryDevice::flush() {
  check_open();
  co_return;
}

Task<std::vector<Extent>> MemoryDevice::extents(uint64_t offset, uint64_t length, ExtentScope) {
  check_range(offset, length);
  co_return extents_of(contents_, offset, length, kExtentsMax, this);
}

Task<void> MemoryDevice::resize(uint64_t new_size, Preallocation) {
  check_writable(0, 0);
  if (new_size > kSizeMax) throw Error::from_errno(EFBIG, "Failed to resize the file");
  contents_.resize(new_size);
  co_return;
}

Task<void> MemoryDevice::close() {
  begin_close();
  co_return;
}

std::optional<uint64_t> MemoryDevice::allocated_size() const {
  return contents_.allocated();
}

}  // namespace byre::storage
