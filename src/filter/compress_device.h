// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/range_lock.h"
#include "block/block_device.h"

namespace byre::filter {

// QEMU's "compress": what is written through it is stored compressed. Compressed writes are those
// of whole clusters, so a write of a part of one reads the rest of it first.
class CompressDevice final : public BlockDevice {
 public:
  // Where the device below takes no compressed writes, a write is Error(kUnsupported). `filename`:
  // empty: as the device below.
  CompressDevice(std::unique_ptr<BlockDevice> below, std::string filename);

  const std::string& filename() const override {
    return filename_.empty() ? below_->filename() : filename_;
  }
  const char* driver() const override { return "compress"; }
  uint64_t size() const override { return below_->size(); }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return below_->is_read_only(); }

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
  // Of one cluster, or a part of it.
  Task<void> write_cluster(uint64_t offset, IoVector from, WriteFlags flags);

  std::unique_ptr<BlockDevice> below_;
  const std::string filename_;
  Limits limits_;
  const uint64_t cluster_size_;
  // Two writes to parts of one cluster must not lose one another's bytes.
  RangeLock clusters_;
};

}  // namespace byre::filter
