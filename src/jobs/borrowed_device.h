// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"

namespace byre::jobs {

// Passes every request on to a device that outlives it; close() flushes and leaves it open. For
// images that own their file while somebody else needs that file afterwards.
class BorrowedDevice final : public BlockDevice {
 public:
  explicit BorrowedDevice(BlockDevice& device) : device_(device) {}

  const std::string& filename() const override { return device_.filename(); }
  const char* driver() const override { return device_.driver(); }
  uint64_t size() const override { return device_.size(); }
  const Limits& limits() const override { return device_.limits(); }
  bool is_read_only() const override { return device_.is_read_only(); }
  Task<void> read(uint64_t offset, IoVector to) override {
    return device_.read(offset, std::move(to));
  }
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override {
    return device_.write(offset, std::move(from), flags);
  }
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    return device_.write_zeroes(offset, length, flags);
  }
  Task<void> discard(uint64_t offset, uint64_t length) override {
    return device_.discard(offset, length);
  }
  Task<void> flush() override { return device_.flush(); }
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override {
    return device_.extents(offset, length, scope);
  }
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override {
    return device_.resize(new_size, preallocation);
  }
  Task<void> close() override { return device_.flush(); }
  std::optional<uint64_t> allocated_size() const override { return device_.allocated_size(); }
  using BlockDevice::write;

 private:
  BlockDevice& device_;
};

}  // namespace byre::jobs
