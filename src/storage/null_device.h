// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "block/block_device.h"

namespace byre::storage {

struct NullOptions {
  uint64_t size = uint64_t{1} << 30;
  // Reads clear the caller's buffer; otherwise they leave it unchanged, which measures only the
  // layers above.
  bool read_zeroes = false;
  bool writable = false;
  std::chrono::nanoseconds latency{0};  // of every request
};

// QEMU's "null-co": accepts every write and stores nothing.
class NullDevice final : public BlockDevice {
 public:
  explicit NullDevice(NullOptions options, std::string filename = "null-co://");

  const std::string& filename() const override { return filename_; }
  const char* driver() const override { return "null-co"; }
  uint64_t size() const override { return options_.size; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return !options_.writable; }

  std::optional<uint64_t> allocated_size() const override { return 0; }
  // Nothing that it has could be changed by others.
  bool add_lock(LockPermissions) override { return true; }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> do_close() override;

  Task<void> wait() const;

  std::string filename_;
  NullOptions options_;
  Limits limits_;
};

}  // namespace byre::storage
