// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "block/block_device.h"

namespace byre::jobs {

// Concatenated images that are read as one. Each counts as whole sectors, as in QEMU: the bytes
// between an image's end and the end of its last sector are zero. The devices outlive it.
class SourceSequence {
 public:
  explicit SourceSequence(std::vector<BlockDevice*> devices);

  // The constructor throws Error(kInvalidArgument) if the sum does not fit into 63 bits.
  uint64_t size() const { return size_; }
  // REQUIRES: the range is inside [0, size()).
  Task<void> read(uint64_t offset, Bytes to) const;
  // The device that has the whole range, and the offset there; nullptr if no single device has all
  // of it.
  struct Location {
    BlockDevice* device = nullptr;
    uint64_t offset = 0;
  };
  Location location_of(uint64_t offset, uint64_t length) const;
  // Like BlockDevice::extents(), with offsets in the sequence.
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) const;

 private:
  struct Part {
    BlockDevice* device;
    uint64_t start;
    uint64_t end;
    // Where the device's own bytes end: at most a sector before `end`.
    uint64_t device_end;
  };
  const Part& part_at(uint64_t offset) const;

  std::vector<Part> parts_;
  uint64_t size_ = 0;
};

}  // namespace byre::jobs
