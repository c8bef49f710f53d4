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
  bool has_fixed_size() const override { return device_.has_fixed_size(); }
  void refresh_size() override { device_.refresh_size(); }
  std::optional<uint64_t> allocated_size() const override { return device_.allocated_size(); }
  std::optional<FileIdentity> identity() const override { return device_.identity(); }
  bool add_lock(LockPermissions permissions) override { return device_.add_lock(permissions); }
  std::vector<ChildDevice> children() const override { return device_.children(); }
  BlockDevice& itself() override { return device_.itself(); }
  DebugListener* debug_listener() override { return device_.debug_listener(); }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override {
    co_await device_.read(offset, std::move(to));
  }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    co_await device_.write(offset, std::move(from), flags);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    co_await device_.write_zeroes(offset, length, flags);
  }
  Task<void> do_discard(uint64_t offset, uint64_t length) override {
    co_await device_.discard(offset, length);
  }
  Task<void> do_reserve_space(uint64_t offset, uint64_t length) override {
    co_await device_.reserve_space(offset, length);
  }
  Task<void> do_flush() override { co_await device_.flush(); }
  Task<void> do_start_flush() override { co_await device_.start_flush(); }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override {
    co_return co_await device_.extents(offset, length, scope);
  }
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override {
    co_await device_.resize(new_size, preallocation);
  }
  Task<void> do_close() override {
    if (at_close_ == AtClose::kFlush) co_await device_.flush();
  }

  BlockDevice& device_;
  const AtClose at_close_;
};

}  // namespace byre::filter
