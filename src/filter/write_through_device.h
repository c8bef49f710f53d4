// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "filter/filter_device.h"

namespace byre::filter {

// What a request changes is durable when it is done, including its mapping: the cache modes
// `writethrough` and `directsync`. It is placed on top of what the caller opened: the mode is a
// promise to the caller, and the layers below need not make each of their own writes durable.
// Otherwise it behaves as the device below, with its name, driver and children.
class WriteThroughDevice final : public FilterDevice {
 public:
  explicit WriteThroughDevice(std::unique_ptr<BlockDevice> below)
      : FilterDevice(std::move(below)) {}

  const char* driver() const override { return below().driver(); }
  std::vector<ChildDevice> children() const override { return below().children(); }
  BlockDevice& itself() override { return below().itself(); }
  DebugListener* debug_listener() override { return below().debug_listener(); }

  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override {
    return below().write(offset, std::move(from), flags | WriteFlags::kFua);
  }
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    return below().write_zeroes(offset, length, flags | WriteFlags::kFua);
  }
  Task<void> discard(uint64_t offset, uint64_t length) override;
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override;
  using BlockDevice::write;
  using FilterDevice::below;
};

}  // namespace byre::filter
