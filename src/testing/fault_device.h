// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "filter/filter_device.h"

namespace byre::faults {

enum class Operation {
  kRead,
  kWrite,
  kWriteZeroes,
  kDiscard,
  kReserveSpace,
  kFlush,
  kExtents,
  kResize,
  kClose
};
inline constexpr size_t kOperationCount = 9;
const char* operation_name(Operation operation);

// How much a failing write has written: kHalf up to the sector that contains its middle.
enum class Written : uint8_t { kNothing, kHalf, kAll };

// Which requests fail, and how.
struct FaultRule {
  Operation operation = Operation::kWrite;
  // Counted from 1, starting when the rule was added, among the requests that match `operation` and
  // the range: the `first` of them fails, and `count` in total.
  uint64_t first = 1;
  uint64_t count = 1;   // UINT64_MAX: all from the first on
  int errno_value = 5;  // EIO
  // Only requests that touch this range; flush and close have no range and match any.
  uint64_t offset = 0;
  uint64_t length = UINT64_MAX;
  Written written = Written::kNothing;
};

// A request to the device, in the order in which requests were passed on to the device below or
// failed.
struct FaultEvent {
  Operation operation;
  uint64_t offset;  // of a resize: 0
  uint64_t length;  // of a resize: the new size
  WriteFlags flags;
  bool failed;
};

// A device that fails on demand, keeps a record, and lets requests overtake one another: the basis
// of every test of an error path and of the order on disk. It passes on whatever it does not fail.
class FaultDevice final : public filter::FilterDevice {
 public:
  explicit FaultDevice(std::unique_ptr<BlockDevice> below);

  const char* driver() const override { return below().driver(); }

  using filter::FilterDevice::below;

  void add_rule(FaultRule rule);
  // Removes all rules, including the bounds on space.
  void heal();
  // A full disk: a write, write_zeroes, reserve_space or resize that extends past this size fails
  // with ENOSPC...
  void set_size_max(uint64_t bytes) { size_max_ = bytes; }
  // ...and so does a write once this many bytes in total have been written from now on.
  void set_write_budget(uint64_t bytes) { write_budget_ = bytes; }
  // Each request first lets others run, up to `turns_max` times, by a generator with this seed.
  void set_delays(uint64_t seed, uint32_t turns_max);

  // The number of requests, including failed ones.
  uint64_t count(Operation operation) const { return counts_[static_cast<size_t>(operation)]; }
  const std::vector<FaultEvent>& events() const { return events_; }
  void clear_events() { events_.clear(); }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_reserve_space(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> do_close() override;

  struct ActiveRule {
    FaultRule rule;
    uint64_t seen = 0;
  };
  struct Fault {
    int errno_value = 0;  // 0: none
    Written written = Written::kNothing;
  };

  Task<void> delay();
  Fault begin(Operation operation, uint64_t offset, uint64_t length, WriteFlags flags);
  int space_error(Operation operation, uint64_t offset, uint64_t length);
  [[noreturn]] void fail(Operation operation, int errno_value) const;

  std::vector<ActiveRule> rules_;
  uint64_t size_max_ = UINT64_MAX;
  uint64_t write_budget_ = UINT64_MAX;
  uint32_t delay_turns_max_ = 0;
  std::mt19937_64 random_;
  std::array<uint64_t, kOperationCount> counts_{};
  std::vector<FaultEvent> events_;
};

}  // namespace byre::faults
