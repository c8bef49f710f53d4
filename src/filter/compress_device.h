// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "async/range_lock.h"
#include "filter/filter_device.h"

namespace byre::filter {

// QEMU's "compress": data written through it is stored compressed. Compressed writes consist of
// whole clusters, so a write of a part of one first reads the rest of it.
class CompressDevice final : public FilterDevice {
 public:
  // If the device below does not support compressed writes, a write is Error(kUnsupported).
  // `filename`: empty: that of the device below.
  CompressDevice(std::unique_ptr<BlockDevice> below, std::string filename);

  const char* driver() const override { return "compress"; }
  const Limits& limits() const override { return limits_; }

 private:
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;

  // Waits for writes to the clusters that the range touches, and holds off others.
  Task<RangeLock::Guard> lock_clusters(uint64_t offset, uint64_t length);
  // Writes one cluster, or a part of it.
  Task<void> write_cluster(uint64_t offset, WriteBuffers from, WriteFlags flags);

  Limits limits_;
  const uint64_t cluster_size_;
  // A write of a part of a cluster writes its other bytes back as it has read them, so nothing else
  // may change them meanwhile. Held exclusively by writes and shared by other changes.
  RangeLock clusters_;
};

}  // namespace byre::filter
