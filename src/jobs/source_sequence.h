// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "block/block_device.h"

namespace byre::jobs {

// Images behind one another, read as one. Each counts as whole sectors, as in QEMU: the bytes
// between an image's end and the end of its last sector are zero. The devices outlive it.
class SourceSequence {
 public:
  explicit SourceSequence(std::vector<BlockDevice*> devices);

  // Throws Error(kInvalidArgument) from the constructor where the sum does not fit into 63 bits.
  uint64_t size() const { return size_; }
  // The range lies inside [0, size()).
  Task<void> read(uint64_t offset, Bytes to) const;
  // The device whose own bytes the whole range is, and where there; nullptr: it is not one's alone.
  struct Place {
    BlockDevice* device = nullptr;
    uint64_t offset = 0;
  };
  Place place_of(uint64_t offset, uint64_t length) const;
  // As BlockDevice::extents(), with offsets on the sequence.
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
