// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "block/block_device.h"

namespace byre::storage {

// Bytes of which only chunks with contents take space: a value type. What was never written, or was
// cleared, is a hole and reads as zeroes. Copies share their chunks until one of them changes a
// chunk, so a copy is cheap. Copies of one another belong to one thread.
class SparseBytes {
 public:
  static constexpr uint64_t kChunkSize = 4096;

  explicit SparseBytes(uint64_t size = 0);

  uint64_t size() const { return size_; }
  // Truncated bytes are lost; added ones read as zeroes.
  void resize(uint64_t size);

  // REQUIRES: [offset, offset + to.size()) is inside.
  void read(uint64_t offset, Bytes to) const;
  // Both extend the bytes if necessary.
  void write(uint64_t offset, ConstBytes from);
  // Holes where whole chunks are cleared, zeroes elsewhere.
  void clear(uint64_t offset, uint64_t length);

  // Allocates space for the range; what was a hole holds zeroes. The size stays.
  void reserve(uint64_t offset, uint64_t length);

  struct Extent {
    uint64_t length = 0;
    bool data = false;
  };
  // The run of data or hole that starts at `offset`, at most `length` bytes of it.
  Extent extent_at(uint64_t offset, uint64_t length) const;
  uint64_t allocated() const { return chunks_.size() * kChunkSize; }
  // The number of bytes of chunks that a write of that range would add.
  uint64_t missing_in(uint64_t offset, uint64_t length) const;

 private:
  struct Chunk {
    uint8_t bytes[kChunkSize];
  };
  uint8_t* writable_chunk(uint64_t chunk);

  uint64_t size_;
  std::map<uint64_t, std::shared_ptr<Chunk>> chunks_;  // by offset; bytes owned by this object
                                                       // alone, or shared and constant
};

// BlockDevice::extents() of a device that has these bytes; at most `extents_max` extents.
// REQUIRES: [offset, offset + length) is inside.
std::vector<byre::Extent> extents_of(const SparseBytes& bytes, uint64_t offset, uint64_t length,
                                     size_t extents_max, BlockDevice* device);

}  // namespace byre::storage
