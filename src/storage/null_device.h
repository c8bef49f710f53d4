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

  Task<void> read(uint64_t offset, IoVector to) override;
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override;
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> discard(uint64_t offset, uint64_t length) override;
  Task<void> flush() override;
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override;
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> close() override;
  std::optional<uint64_t> allocated_size() const override { return 0; }
  using BlockDevice::write;

 private:
  Task<void> wait() const;

  std::string filename_;
  NullOptions options_;
  Limits limits_;
};

}  // namespace byre::storage
