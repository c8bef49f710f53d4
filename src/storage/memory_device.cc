// SPDX-License-Identifier: Apache-2.0
#include "storage/memory_device.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "byre/error.h"
#include "storage/preallocation.h"

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

Task<void> MemoryDevice::do_read(uint64_t offset, ReadBuffers to) {
  for (const iovec& segment : to.segments()) {
    contents_.read(offset, {static_cast<uint8_t*>(segment.iov_base), segment.iov_len});
    offset += segment.iov_len;
  }
  co_return;
}

Task<void> MemoryDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags) {
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

Task<void> MemoryDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags) {
  contents_.clear(offset, length);
  co_return;
}

Task<void> MemoryDevice::do_discard(uint64_t offset, uint64_t length) {
  contents_.clear(offset, length);
  co_return;
}

Task<void> MemoryDevice::do_flush() {
  co_return;
}

Task<std::vector<Extent>> MemoryDevice::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  co_return extents_of(contents_, offset, length, kExtentsMax, this);
}

Task<void> MemoryDevice::do_resize(uint64_t new_size, Preallocation preallocation) {
  check_file_preallocation(*this, new_size, preallocation);
  if (new_size > kSizeMax) {
    throw Error(ErrorKind::kNoSpace, EFBIG,
                ErrorData{.code = "memory-size-too-large",
                          .field = "size",
                          .value = new_size,
                          .bound = kSizeMax,
                          .file = filename()},
                fmt::format("the new size is {}; at most {} is possible", new_size, kSizeMax));
  }
  contents_.resize(new_size);
  co_return;
}

Task<void> MemoryDevice::do_close() {
  co_return;
}

std::optional<uint64_t> MemoryDevice::allocated_size() const {
  return contents_.allocated();
}

}  // namespace byre::storage
