// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "block/request_policy.h"
#include "filter/filter_device.h"

namespace byre::filter {

// Placed in front of a device whose driver does not do this itself, it passes on only suitable
// requests: it applies the `discard` and `detect-zeroes` options of its node, and splits reads and
// writes into pieces that the device accepts (Limits::transfer_max). Otherwise it behaves as the
// device: its name, its driver, its children.
class NodeFront final : public FilterDevice {
 public:
  // `transfer_max`: 0: unlimited.
  NodeFront(std::unique_ptr<BlockDevice> device, RequestPolicy policy, uint64_t transfer_max);

  const char* driver() const override { return below().driver(); }
  // Without transfer_max.
  const Limits& limits() const override { return limits_; }

  Task<void> read(uint64_t offset, IoVector to) override;
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override;
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> discard(uint64_t offset, uint64_t length) override;
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override;
  std::vector<ChildDevice> children() const override { return below().children(); }
  BlockDevice& itself() override { return below().itself(); }
  DebugListener* debug_listener() override { return below().debug_listener(); }
  using BlockDevice::write;

 private:
  Task<void> read_in_pieces(uint64_t offset, IoVector to);
  Task<void> write_in_pieces(uint64_t offset, IoVector from, WriteFlags flags);
  // The length of the first piece of a transfer.
  uint64_t piece(uint64_t offset, uint64_t left) const;

  const RequestPolicy policy_;
  Limits limits_;
  const uint64_t transfer_max_;  // 0: unlimited
};

// The device, with a front if it needs one.
std::unique_ptr<BlockDevice> with_front(std::unique_ptr<BlockDevice> device, RequestPolicy policy,
                                        uint64_t transfer_max);

}  // namespace byre::filter
