// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/block_device.h"

namespace byre::open {

// A raw image: its bytes are the file's. As in QEMU, its size is that of the file rounded up to
// whole sectors of 512 bytes; what is past the file's end reads as zeroes, and a write there
// extends the file.
class RawDevice final : public BlockDevice {
 public:
  explicit RawDevice(std::unique_ptr<BlockDevice> file) : file_(std::move(file)) {}

  const std::string& filename() const override { return file_->filename(); }
  const char* driver() const override { return "raw"; }
  uint64_t size() const override;
  const Limits& limits() const override { return file_->limits(); }
  bool is_read_only() const override { return file_->is_read_only(); }

  Task<void> read(uint64_t offset, IoVector to) override;
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override;
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> discard(uint64_t offset, uint64_t length) override;
  Task<void> flush() override { return file_->flush(); }
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override;
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> close() override { return file_->close(); }
  std::optional<uint64_t> allocated_size() const override { return file_->allocated_size(); }
  using BlockDevice::write;

  BlockDevice& file() const { return *file_; }

 private:
  // How much of [offset, offset + length) the file has.
  uint64_t stored_length(uint64_t offset, uint64_t length) const;

  std::unique_ptr<BlockDevice> file_;
};

}  // namespace byre::open
