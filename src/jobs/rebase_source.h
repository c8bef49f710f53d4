// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/block_device.h"

namespace byre::jobs {

// What an image reads as, with extents that say what a change of its backing file may change: a
// range has the depth 0 and is data if the image does not have it itself and the old and the new
// backing file may differ in it. All others have the depth 1. They do not differ where both read
// as zeroes, or have the bytes at the same place of the same file, whatever its name, or in
// compressed clusters of the same image.
class RebaseSource final : public BlockDevice {
 public:
  // `base` is the new backing file, which ends in zeroes; nullptr: none. Both outlive it.
  RebaseSource(BlockDevice* image, BlockDevice* base);

  const std::string& filename() const override { return image_->filename(); }
  const char* driver() const override { return image_->driver(); }
  uint64_t size() const override { return image_->size(); }
  const Limits& limits() const override { return image_->limits(); }
  bool is_read_only() const override { return true; }

  // The images of the present chain by depth: first the image itself.
  const std::vector<BlockDevice*>& layers() const { return layers_; }

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

  Task<std::vector<Extent>> base_extents(uint64_t offset, uint64_t length) const;
  bool may_differ(const Extent& now, const Extent& then) const;

  BlockDevice* image_;
  BlockDevice* base_;
  std::vector<BlockDevice*> layers_;
  std::vector<BlockDevice*> base_layers_;
};

}  // namespace byre::jobs
