// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "block/request_policy.h"
#include "filter/filter_device.h"

namespace byre::filter {

// Stands before a device whose driver does not do so itself, and gives it no request that it should
// not get: what `discard` and `detect-zeroes` of its node say is done, and reads and writes are cut
// into pieces that the device takes (Limits::transfer_max). Otherwise it is the device: its name,
// its driver, its children.
class NodeFront final : public FilterDevice {
 public:
  // `transfer_max`: 0: no bound.
  NodeFront(std::unique_ptr<BlockDevice> device, RequestPolicy policy, uint64_t transfer_max);

  const char* driver() const override { return below().driver(); }
  // Without a bound.
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
  // How much of a transfer goes in one piece.
  uint64_t piece(uint64_t offset, uint64_t left) const;

  const RequestPolicy policy_;
  Limits limits_;
  const uint64_t transfer_max_;  // 0: no bound
};

// The device, with a front where it needs one.
std::unique_ptr<BlockDevice> with_front(std::unique_ptr<BlockDevice> device, RequestPolicy policy,
                                        uint64_t transfer_max);

}  // namespace byre::filter
