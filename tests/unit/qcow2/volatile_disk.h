// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "storage/memory_device.h"

namespace byre::qcow2::test {

// A disk with a volatile cache. Reads see every write; a power cut keeps what was flushed and,
// sector by sector, any subset of what was written since, newer and older writes alike.
class VolatileDisk final : public BlockDevice {
 public:
  explicit VolatileDisk(std::unique_ptr<storage::MemoryDevice> contents)
      : now_(std::move(contents)), durable_(now_->clone()) {}

  const std::string& filename() const override { return now_->filename(); }
  const char* driver() const override { return "memory"; }
  uint64_t size() const override { return now_->size(); }
  const Limits& limits() const override { return now_->limits(); }
  bool is_read_only() const override { return false; }
  using BlockDevice::write;

  Task<void> read(uint64_t offset, IoVector to) override { return now_->read(offset, to); }
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override {
    if (on_request_) on_request_(false);
    Pending pending{offset, std::vector<uint8_t>(from.size())};
    from.copy_to(Bytes(pending.bytes));
    pending_.push_back(std::move(pending));
    co_await now_->write(offset, from, flags);
  }
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    if (on_request_) on_request_(false);
    pending_.push_back({offset, std::vector<uint8_t>(length)});
    co_await now_->write_zeroes(offset, length, flags);
  }
  Task<void> discard(uint64_t, uint64_t) override { co_return; }
  Task<void> flush() override {
    if (on_request_) on_request_(true);
    for (const Pending& pending : pending_) durable_->put(pending.offset, pending.bytes);
    pending_.clear();
    if (durable_->size() < now_->size())
      co_await durable_->resize(now_->size(), Preallocation::kOff);
  }
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override {
    return now_->extents(offset, length, scope);
  }
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override {
    return now_->resize(new_size, preallocation);
  }
  Task<void> close() override { co_return; }

  // Called before each write and flush.
  void set_on_request(std::function<void(bool is_flush)> on_request) {
    on_request_ = std::move(on_request);
  }

  // What a power cut at this moment could leave.
  std::unique_ptr<storage::MemoryDevice> power_cut(uint64_t seed) const {
    std::mt19937_64 random(seed);
    const uint64_t kept_of_8 = random() % 9;
    std::unique_ptr<storage::MemoryDevice> left = durable_->clone();
    for (const Pending& pending : pending_) {
      for (uint64_t done = 0; done < pending.bytes.size();) {
        const uint64_t at = pending.offset + done;
        const uint64_t part =
            std::min<uint64_t>(kSectorSize - at % kSectorSize, pending.bytes.size() - done);
        if (random() % 8 < kept_of_8) {
          left->put(at, ConstBytes(pending.bytes).subspan(done, part));
        }
        done += part;
      }
    }
    return left;
  }

 private:
  struct Pending {
    uint64_t offset;
    std::vector<uint8_t> bytes;
  };

  std::unique_ptr<storage::MemoryDevice> now_;
  std::unique_ptr<storage::MemoryDevice> durable_;
  std::vector<Pending> pending_;
  std::function<void(bool is_flush)> on_request_;
};

}  // namespace byre::qcow2::test
