// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "qcow2/tables/table_cache.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

// Caches of slices of a file that counts requests and fails them.
namespace byre::qcow2::test {

using byre::test::pattern;
using faults::FaultDevice;
using faults::Operation;
using testing::ElementsAre;

constexpr uint32_t kSlice = 512;

class TableCacheTest : public testing::Test {
 protected:
  TableCacheTest() {
    auto memory = std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, 100 * kSlice, 1)));
    memory_ = memory.get();
    auto file = std::make_unique<FaultDevice>(std::move(memory));
    file_ = file.get();
    storage_ = std::make_unique<Storage>(std::move(file));
  }

  TableCache make(uint64_t slices_max = 8) {
    return {storage_.get(), {"table", kSlice, slices_max}};
  }

  TableCache::Slice get(TableCache& cache, uint64_t index) {
    return sync_wait(cache.get(index * kSlice));
  }
  void change(TableCache& cache, uint64_t index, uint8_t value) {
    const TableCache::Slice slice = get(cache, index);
    std::ranges::fill(slice.bytes(), value);
    slice.mark_dirty();
  }
  uint8_t on_disk(uint64_t index) { return memory_->get(index * kSlice, 1).front(); }
  // "w3" for a write of slice 3, "f" for a flush, and so on.
  std::vector<std::string> changes() {
    std::vector<std::string> result;
    for (const faults::FaultEvent& event : file_->events()) {
      if (event.operation == Operation::kFlush) result.push_back("f");
      if (event.operation != Operation::kWrite) continue;
      std::string text = "w" + std::to_string(event.offset / kSlice);
      if (event.length > kSlice) text += "+" + std::to_string(event.length / kSlice - 1);
      result.push_back(text);
    }
    file_->clear_events();
    return result;
  }

  storage::MemoryDevice* memory_;
  FaultDevice* file_;
  std::unique_ptr<Storage> storage_;
};

}  // namespace byre::qcow2::test
