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

  // Writes one cluster, or a part of it.
  Task<void> write_cluster(uint64_t offset, WriteBuffers from, WriteFlags flags);

  Limits limits_;
  const uint64_t cluster_size_;
  // Two writes to parts of one cluster must not overwrite each other's bytes.
  RangeLock clusters_;
};

}  // namespace byre::filter
