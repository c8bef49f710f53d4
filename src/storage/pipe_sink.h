// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "async/mutex.h"
#include "block/block_device.h"

namespace byre::storage {

// A disk that is written sequentially into a pipe. Each write starts at or after the end of the
// previously issued one, which need not be done; gaps become zero bytes, and close() fills up to
// size(). A write that goes back is Error(kUnsupported), and nothing can be read. When the reader
// of the pipe goes away, writes fail with EPIPE; the signal does not reach the process.
class PipeSink final : public BlockDevice {
 public:
  // The descriptor, a pipe or anything else that can be written to, still belongs to the caller.
  PipeSink(int fd, uint64_t size, std::string filename);

  const std::string& filename() const override { return filename_; }
  const char* driver() const override { return "pipe"; }
  uint64_t size() const override { return size_; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return false; }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  // Not to less than what has been written.
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> do_close() override;

  void take_turn(uint64_t offset, uint64_t length);
  Task<void> send(WriteBuffers from);
  Task<void> send_zeroes(uint64_t until);

  int fd_;
  uint64_t size_;
  uint64_t asked_ = 0;  // the end of the last write or zeroing that was issued
  uint64_t sent_ = 0;   // the number of bytes that were written to the pipe
  Mutex sending_;       // admits writes in the order in which they were issued
  bool failed_ = false;
  std::string filename_;
  Limits limits_;
};

}  // namespace byre::storage
