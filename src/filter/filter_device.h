// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "block/block_device.h"

namespace byre::filter {

// A device that owns the one below it and passes every request on: a filter overrides what it
// changes. Code that looks for the file below a filter, for example to lock it, finds it.
class FilterDevice : public BlockDevice {
 public:
  const std::string& filename() const override {
    return filename_.empty() ? below_->filename() : filename_;
  }
  uint64_t size() const override { return below_->size(); }
  const Limits& limits() const override { return below_->limits(); }
  bool is_read_only() const override { return below_->is_read_only(); }
  bool has_fixed_size() const override { return below_->has_fixed_size(); }
  void refresh_size() override { below_->refresh_size(); }
  std::vector<ChildDevice> children() const override { return {{"file", below_.get()}}; }
  std::optional<uint64_t> allocated_size() const override { return below_->allocated_size(); }

 protected:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override {
    return below_->read(offset, std::move(to));
  }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    return below_->write(offset, std::move(from), flags);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    return below_->write_zeroes(offset, length, flags);
  }
  Task<void> do_discard(uint64_t offset, uint64_t length) override {
    return below_->discard(offset, length);
  }
  Task<void> do_reserve_space(uint64_t offset, uint64_t length) override {
    return below_->reserve_space(offset, length);
  }
  Task<void> do_flush() override { return below_->flush(); }
  Task<void> do_start_flush() override { return below_->start_flush(); }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override {
    return below_->extents(offset, length, scope);
  }
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override {
    return below_->resize(new_size, preallocation);
  }
  Task<void> do_close() override { return below_->close(); }

  // `filename`: empty: that of the device below.
  explicit FilterDevice(std::unique_ptr<BlockDevice> below, std::string filename = "")
      : below_(std::move(below)), filename_(std::move(filename)) {
    BYRE_ASSERT(below_ != nullptr);
  }
  BlockDevice& below() const { return *below_; }

 private:
  std::unique_ptr<BlockDevice> below_;
  const std::string filename_;
};

}  // namespace byre::filter
