// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "storage/sparse_bytes.h"

namespace byre::storage {

// A disk in memory. Only chunks with contents take space, so a disk of many TiB is cheap; what was
// never written, or was zeroed, is a hole and reads as zeroes. Writes past the end extend it
// (Limits::grows). It never waits and never fails by itself; faults::FaultDevice does that.
class MemoryDevice final : public BlockDevice {
 public:
  static constexpr uint64_t kChunkSize = SparseBytes::kChunkSize;

  explicit MemoryDevice(uint64_t size = 0, std::string filename = "memory");
  // With these bytes as its contents.
  explicit MemoryDevice(ConstBytes contents, std::string filename = "memory");
  explicit MemoryDevice(SparseBytes contents, std::string filename = "memory");
  ~MemoryDevice() override;

  const std::string& filename() const override { return filename_; }
  const char* driver() const override { return "memory"; }
  uint64_t size() const override { return contents_.size(); }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return is_read_only_; }

  std::optional<uint64_t> allocated_size() const override;

  // Direct access, for tests and for code that builds an image in memory; needs no loop.
  void set_read_only(bool read_only) { is_read_only_ = read_only; }
  void put(uint64_t offset, ConstBytes bytes);                     // extends if necessary
  std::vector<uint8_t> get(uint64_t offset, size_t length) const;  // inside size()
  const SparseBytes& contents() const { return contents_; }
  // Cheap: shares whatever neither of the two changes.
  std::unique_ptr<MemoryDevice> clone() const;

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

  std::string filename_;
  SparseBytes contents_;
  Limits limits_;
  bool is_read_only_ = false;
};

}  // namespace byre::storage
