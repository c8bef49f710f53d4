// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/task.h"
#include "block/block_device.h"
#include "block/buffer.h"

namespace byre::qcow2 {

// How a checker reads tables: from a file that may end in the middle of one, several at once where
// they lie side by side. What lies past the end of the file reads as zeroes, and is never read.
class CheckerFile {
 public:
  // The longest read, unless more is asked for at once, and the most that is kept.
  static constexpr uint64_t kReadMax = 1 << 20;

  explicit CheckerFile(BlockDevice* file);

  BlockDevice& device() { return *file_; }
  uint64_t size() const { return size_; }
  // How many bytes of [offset, offset + length) the file has; the rest is zeroes. An entry of 8
  // bytes that the file's end cuts in two counts as whole.
  uint64_t stored(uint64_t offset, uint64_t length) const;

  // Whether the range is known to read as zeroes without reading it. A file that is mostly holes
  // may have terabytes of tables in them, which cost nobody anything to make.
  Task<bool> is_hole(uint64_t offset, uint64_t length);

  // The bytes [offset, offset + length), if they were read and not yet replaced.
  std::optional<ConstBytes> kept(uint64_t offset, uint64_t length) const;
  // What was read is no longer what the file has.
  void forget() { kept_ = 0; }
  // Reads the range, and with it up to `ahead` bytes that follow. The bytes are good until the next
  // call. Throws what the file throws; Error(kIo) for an offset that no file has.
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
