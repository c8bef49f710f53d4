// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "async/range_lock.h"
#include "filter/filter_device.h"

namespace byre::filter {

// QEMU's "copy-on-read": data that is read through it and is not in the topmost layer of the device
// below is written there, so that the next read finds it there; this includes zeroes, even those
// that no layer has. If the copy fails, the read fails.
class CopyOnReadDevice final : public FilterDevice {
 public:
  // `filename`: empty: that of the device below.
  CopyOnReadDevice(std::unique_ptr<BlockDevice> below, std::string filename);

  const char* driver() const override { return "copy-on-read"; }
  bool is_read_only() const override { return is_read_only_; }
  // For a device that is only read through, while the one below is written to.
  void set_read_only() { is_read_only_ = true; }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;

  Task<void> copy(uint64_t offset, uint64_t length);
  Task<void> copy_run(uint64_t offset, uint64_t length);

  bool is_read_only_;
  DebugEvents events_;
  // A copy must not undo a concurrent write.
  RangeLock ranges_;
};

}  // namespace byre::filter
