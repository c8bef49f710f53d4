// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "storage/memory_device.h"

namespace byre::test {

// A disk in memory with the extents and limits that the test sets; keeps a record of writes.
class ScriptedDevice final : public BlockDevice {
 public:
  struct Write {
    uint64_t offset;
    uint64_t length;
    bool zeroes;
    bool compressed;
    bool operator==(const Write&) const = default;
  };

  explicit ScriptedDevice(uint64_t size) : memory_(size) {}
  explicit ScriptedDevice(const std::vector<uint8_t>& contents) : memory_(ConstBytes(contents)) {}

  const std::string& filename() const override { return memory_.filename(); }
  const char* driver() const override { return "scripted"; }
  uint64_t size() const override { return memory_.size(); }
  const Limits& limits() const override { return scripted_limits; }
  bool is_read_only() const override { return false; }
  Task<void> do_read(uint64_t offset, ReadBuffers to) override { return memory_.read(offset, to); }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    started.push_back({offset, from.size(), false, has_flag(flags, WriteFlags::kCompressed)});
    co_await Loop::current().yield();
    co_await memory_.write(offset, from, WriteFlags::kNone);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    started.push_back({offset, length, true, false});
    co_await memory_.write_zeroes(offset, length, flags);
  }
  Task<void> do_discard(uint64_t offset, uint64_t length) override {
    return memory_.discard(offset, length);
  }
  Task<void> do_flush() override {
    ++flushes;
    return memory_.flush();
  }
  Task<void> do_start_flush() override {
    ++flushes_started;
    return ready();
  }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override {
    scopes.push_back(scope);
    if (scripted_extents.empty()) {
      std::vector<Extent> answer = co_await memory_.extents(offset, length, scope);
      co_return answer;
    }
    std::vector<Extent> answer;
    for (Extent extent : scripted_extents) {
      const uint64_t end = std::min(extent.offset + extent.length, offset + length);
      extent.offset = std::max(extent.offset, offset);
      if (extent.offset >= end) continue;
      extent.length = end - extent.offset;
      answer.push_back(extent);
      if (answer.size() == extents_max) break;
    }
    co_return answer;
  }
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override {
    return memory_.resize(new_size, preallocation);
  }
  Task<void> do_close() override { return memory_.close(); }

  std::vector<uint8_t> contents() const { return memory_.get(0, memory_.size()); }
  storage::MemoryDevice& memory() { return memory_; }

  Limits scripted_limits;
  std::vector<Extent> scripted_extents;  // empty: those of the memory
  size_t extents_max = SIZE_MAX;         // in one answer
  std::vector<ExtentScope> scopes;
  std::vector<Write> started;
  int flushes = 0;
  int flushes_started = 0;

 private:
  storage::MemoryDevice memory_;
};

inline Extent data_extent(uint64_t offset, uint64_t length) {
  return {.offset = offset, .length = length, .present = true, .data = true};
}
inline Extent zero_extent(uint64_t offset, uint64_t length) {
  return {.offset = offset, .length = length, .present = true, .zero = true};
}
inline Extent absent_extent(uint64_t offset, uint64_t length) {
  return {.offset = offset, .length = length};
}

}  // namespace byre::test
