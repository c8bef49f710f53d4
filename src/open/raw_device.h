// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"

namespace byre::open {

// The part of the file that a raw image occupies; without a size, everything from the offset on.
struct RawWindow {
  uint64_t offset = 0;
  std::optional<uint64_t> size;  // whole sectors
};

struct RawOptions {
  RawWindow window;
  bool writable = true;  // if the file is writable
  // The format was not specified as raw: a write that would make it look like another format is
  // refused with EPERM, as a guest could otherwise control what the next program that opens it
  // reads.
  bool guards_first_sector = false;
  std::string filename;  // empty: the file's
};

// A raw image: its bytes are the file's, or those of a window of it. As in QEMU, its size is that
// of the file rounded up to whole sectors of 512 bytes; past the file's end it reads as zeroes, and
// a write there extends the file. A window with a size has that size, and does not grow.
class RawDevice final : public BlockDevice {
 public:
  explicit RawDevice(std::unique_ptr<BlockDevice> file, RawOptions options = {});

  const std::string& filename() const override {
    return options_.filename.empty() ? file_->filename() : options_.filename;
  }
  const char* driver() const override { return "raw"; }
  uint64_t size() const override;
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return !options_.writable || file_->is_read_only(); }
  void refresh_size() override { file_->refresh_size(); }

  // A window is refused when it is resized.
  bool has_fixed_size() const override { return !options_.window.size && file_->has_fixed_size(); }
  std::optional<uint64_t> allocated_size() const override { return file_->allocated_size(); }
  std::vector<ChildDevice> children() const override { return {{"file", file_.get()}}; }
  DebugListener* debug_listener() override { return file_->debug_listener(); }

  std::optional<HostRange> host_range(uint64_t offset, uint64_t length) override;

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_reserve_space(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<void> do_start_flush() override { return file_->start_flush(); }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<bool> do_copy_from(HostRange source, uint64_t offset, uint64_t length) override;
  Task<void> do_close() override { return file_->close(); }

  // The number of bytes of the file that may belong to the image.
  uint64_t stored_size() const;
  // The number of bytes of [offset, offset + length) that the file has.
  uint64_t stored_length(uint64_t offset, uint64_t length) const;
  Task<void> write_and_tell(uint64_t place, WriteBuffers from, WriteFlags flags);
  Task<void> flush_and_tell();
  void check_first_sector(uint64_t offset, const WriteBuffers& from) const;

  std::unique_ptr<BlockDevice> file_;
  const RawOptions options_;
  Limits limits_;
  const DebugEvents events_;
};

// `size` rounded up to whole sectors.
uint64_t whole_sectors(uint64_t size);

}  // namespace byre::open
