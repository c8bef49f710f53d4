// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "qcow2/image/image.h"

namespace byre::jobs {

// The VM state area of a qcow2 image as a device, to be copied like a disk. All of it counts as data.
class VmStateDevice final : public BlockDevice {
 public:
  // `image` outlives it.
  VmStateDevice(qcow2::Image* image, uint64_t size) : image_(*image), size_(size) {
    limits_.request_alignment = image_.limits().request_alignment;
    limits_.memory_alignment = image_.limits().memory_alignment;
  }

  const std::string& filename() const override { return image_.filename(); }
  const char* driver() const override { return "vm-state"; }
  uint64_t size() const override { return size_; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return image_.is_read_only(); }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override {
    return image_.read_vm_state(offset, std::move(to));
  }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags) override {
    return image_.write_vm_state(offset, std::move(from));
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t, uint64_t) override { return ready(); }
  Task<void> do_flush() override { return image_.flush(); }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length, ExtentScope) override {
    co_return std::vector<Extent>{
        {.offset = offset, .length = length, .present = true, .data = true}};
  }
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> do_close() override { return ready(); }

  qcow2::Image& image_;
  const uint64_t size_;
  Limits limits_;
};

}  // namespace byre::jobs
