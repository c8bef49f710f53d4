// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"

namespace byre::filter {

// Passes every request on to a device that has another owner and outlives it. For images that own
// their file while another owner needs that file too.
class BorrowedDevice final : public BlockDevice {
 public:
  // What close() does: nothing, as the owner closes the device, or a flush, after which the owner
  // sees everything in it.
  enum class AtClose { kNothing, kFlush };

  explicit BorrowedDevice(BlockDevice& device, AtClose at_close = AtClose::kFlush)
      : device_(device), at_close_(at_close) {}

  const std::string& filename() const override { return device_.filename(); }
  const char* driver() const override { return device_.driver(); }
  uint64_t size() const override { return device_.size(); }
  const Limits& limits() const override { return device_.limits(); }
  bool is_read_only() const override { return device_.is_read_only(); }
  Task<void> read(uint64_t offset, IoVector to) override {
    check_open();
    return device_.read(offset, std::move(to));
  }
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override {
    check_open();
    return device_.write(offset, std::move(from), flags);
  }
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    check_open();
    return device_.write_zeroes(offset, length, flags);
  }
  Task<void> discard(uint64_t offset, uint64_t length) override {
    check_open();
    return device_.discard(offset, length);
  }
  Task<void> reserve_space(uint64_t offset, uint64_t length) override {
    check_open();
    return device_.reserve_space(offset, length);
  }
  Task<void> flush() override {
    check_open();
    return device_.flush();
  }
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override {
    check_open();
    return device_.extents(offset, length, scope);
  }
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override {
    check_open();
    return device_.resize(new_size, preallocation);
  }
  Task<void> close() override {
    if (begin_close() && at_close_ == AtClose::kFlush) co_await device_.flush();
  }
  std::optional<uint64_t> allocated_size() const override { return device_.allocated_size(); }
  std::vector<ChildDevice> children() const override { return device_.children(); }
  BlockDevice& itself() override { return device_.itself(); }
  DebugListener* debug_listener() override { return device_.debug_listener(); }
  using BlockDevice::write;

 private:
  BlockDevice& device_;
  const AtClose at_close_;
};

}  // namespace byre::filter
