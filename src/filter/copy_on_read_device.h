// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/range_lock.h"
#include "block/block_device.h"

namespace byre::filter {

// QEMU's "copy-on-read": what is read through it and does not lie in the topmost layer of the
// device below is written there, so that the next read finds it there. What reads as zeroes because
// no layer has it stays as it is. A copy that fails fails the read.
class CopyOnReadDevice final : public BlockDevice {
 public:
  // `filename`: empty: as the device below.
  CopyOnReadDevice(std::unique_ptr<BlockDevice> below, std::string filename);

  const std::string& filename() const override {
    return filename_.empty() ? below_->filename() : filename_;
  }
  const char* driver() const override { return "copy-on-read"; }
  uint64_t size() const override { return below_->size(); }
  const Limits& limits() const override { return below_->limits(); }
  bool is_read_only() const override { return is_read_only_; }
  // For a device that is only read through, while the one below is written to.
  void set_read_only() { is_read_only_ = true; }

  Task<void> read(uint64_t offset, IoVector to) override;
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override;
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> discard(uint64_t offset, uint64_t length) override;
  Task<void> flush() override { return below_->flush(); }
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override;
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> close() override { return below_->close(); }
  std::optional<uint64_t> allocated_size() const override { return below_->allocated_size(); }
  std::vector<ChildDevice> children() const override { return {{"file", below_.get()}}; }
  using BlockDevice::write;

 private:
  Task<void> copy(uint64_t offset, uint64_t length);

  std::unique_ptr<BlockDevice> below_;
  const std::string filename_;
  bool is_read_only_;
  DebugEvents events_;
  // A copy must not undo a write that came meanwhile.
  RangeLock ranges_;
};

}  // namespace byre::filter
