// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/task.h"
#include "block/block_device.h"
#include "block/buffer.h"

namespace byre::qcow2 {

// How a checker reads tables: from a file that may end in the middle of one, several at once if
// they are adjacent. Bytes past the end of the file are zeroes, and are never read.
class CheckerFile {
 public:
  // The longest read, unless more is requested at once, and the most that is kept in memory.
  static constexpr uint64_t kReadMax = 1 << 20;

  explicit CheckerFile(BlockDevice* file);

  BlockDevice& device() { return *file_; }
  uint64_t size() const { return size_; }
  // How many bytes of [offset, offset + length) the file has; the rest is zeroes. An 8-byte entry
  // that the end of the file cuts in two counts as whole.
  uint64_t stored(uint64_t offset, uint64_t length) const;

  // Whether the range is known to read as zeroes without reading it. A sparse file may have
  // terabytes of tables in its holes, at no cost to an attacker.
  Task<bool> is_hole(uint64_t offset, uint64_t length);

  // The bytes [offset, offset + length), if they were read and have not been replaced yet.
  std::optional<ConstBytes> kept(uint64_t offset, uint64_t length) const;
  // The file has changed: drops what was read.
  void forget() { kept_ = 0; }
  // Reads the range, and up to `ahead` bytes that follow it. The bytes are valid until the next
  // call. Throws what the file throws; Error(kIo) for an offset that no file can have.
  Task<ConstBytes> read(uint64_t offset, uint64_t length, uint64_t ahead);

 private:
  BlockDevice* file_;
  uint64_t size_;
  bool is_sparse_;
  Buffer buffer_;
  uint64_t start_ = 0;
  uint64_t kept_ = 0;
};

}  // namespace byre::qcow2
