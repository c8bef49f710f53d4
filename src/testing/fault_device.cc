// SPDX-License-Identifier: Apache-2.0
#include "testing/fault_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "async/loop.h"
#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"

namespace byre::faults {

namespace {

bool has_range(Operation operation) {
  return operation != Operation::kFlush && operation != Operation::kClose;
}

bool picks(const FaultRule& rule, Operation operation, uint64_t offset, uint64_t length) {
  if (rule.operation != operation) return false;
  if (!has_range(operation)) return true;
  return offset < rule.offset ? rule.offset - offset < length : offset - rule.offset < rule.length;
}

}  // namespace

const char* operation_name(Operation operation) {
  switch (operation) {
    case Operation::kRead:
      return "read";
    case Operation::kWrite:
      return "write";
    case Operation::kWriteZeroes:
      return "write_zeroes";
    case Operation::kDiscard:
      return "discard";
    case Operation::kReserveSpace:
      return "reserve_space";
    case Operation::kFlush:
      return "flush";
    case Operation::kExtents:
      return "extents";
    case Operation::kResize:
      return "resize";
    case Operation::kClose:
      return "close";
  }
  return "?";
}

FaultDevice::FaultDevice(std::unique_ptr<BlockDevice> below)
    : filter::FilterDevice(std::move(below)) {}

void FaultDevice::add_rule(FaultRule rule) {
  rules_.push_back({rule, 0});
}

void FaultDevice::heal() {
  rules_.clear();
  size_max_ = UINT64_MAX;
  write_budget_ = UINT64_MAX;
}

void FaultDevice::set_delays(uint64_t seed, uint32_t turns_max) {
  random_.seed(seed);
  delay_turns_max_ = turns_max;
}

Task<void> FaultDevice::delay() {
  if (delay_turns_max_ == 0) co_return;
  const uint64_t turns = random_() % (uint64_t{delay_turns_max_} + 1);
  for (uint64_t i = 0; i < turns; ++i) co_await Loop::current().yield();
}

int FaultDevice::space_error(Operation operation, uint64_t offset, uint64_t length) {
  const bool takes_space = operation == Operation::kWrite || operation == Operation::kWriteZeroes ||
                           operation == Operation::kReserveSpace || operation == Operation::kResize;
  if (!takes_space || length == 0) return 0;
  if (!range_fits(offset, length, size_max_) && offset + length > below().size()) return ENOSPC;
  if (operation == Operation::kWrite && write_budget_ != UINT64_MAX) {
    if (length > write_budget_) return ENOSPC;
    write_budget_ -= length;
  }
  return 0;
}

// Counts the request, decides its fate and records both.
FaultDevice::Fault FaultDevice::begin(Operation operation, uint64_t offset, uint64_t length,
                                      WriteFlags flags) {
  ++counts_[static_cast<size_t>(operation)];
  Fault fault;
  for (ActiveRule& active : rules_) {
    const FaultRule& rule = active.rule;
    if (!picks(rule, operation, offset, length)) continue;
    const uint64_t number = ++active.seen;
    if (number < rule.first || number - rule.first >= rule.count) continue;
    if (fault.errno_value == 0) fault = {rule.errno_value, rule.written};
  }
  if (fault.errno_value == 0) fault.errno_value = space_error(operation, offset, length);
  events_.push_back({operation, offset, length, flags, fault.errno_value != 0});
  return fault;
}

void FaultDevice::fail(Operation operation, int errno_value) const {
  throw Error::from_errno(
      errno_value, fmt::format("'{}': injected {} failure", filename(), operation_name(operation)));
}

Task<void> FaultDevice::do_read(uint64_t offset, ReadBuffers to) {
  co_await delay();
  const Fault fault = begin(Operation::kRead, offset, to.size(), WriteFlags::kNone);
  if (fault.errno_value != 0) fail(Operation::kRead, fault.errno_value);
  co_await below().read(offset, std::move(to));
}

Task<void> FaultDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  co_await delay();
  const Fault fault = begin(Operation::kWrite, offset, from.size(), flags);
  if (fault.errno_value != 0) {
    uint64_t length = 0;
    // A sector is written whole or not at all.
    const uint64_t end = align_down(offset + from.size() / 2, kSectorSize);
    if (fault.written == Written::kHalf) length = end > offset ? end - offset : 0;
    if (fault.written == Written::kAll) length = from.size();
    const WriteBuffers part = from.slice(0, length);
    if (length > 0) co_await below().write(offset, part, WriteFlags::kNone);
    fail(Operation::kWrite, fault.errno_value);
  }
  co_await below().write(offset, std::move(from), flags);
}

Task<void> FaultDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  co_await delay();
  const Fault fault = begin(Operation::kWriteZeroes, offset, length, flags);
  if (fault.errno_value != 0) fail(Operation::kWriteZeroes, fault.errno_value);
  co_await below().write_zeroes(offset, length, flags);
}

Task<void> FaultDevice::do_discard(uint64_t offset, uint64_t length) {
  co_await delay();
  const Fault fault = begin(Operation::kDiscard, offset, length, WriteFlags::kNone);
  if (fault.errno_value != 0) fail(Operation::kDiscard, fault.errno_value);
  co_await below().discard(offset, length);
}

Task<void> FaultDevice::do_reserve_space(uint64_t offset, uint64_t length) {
  co_await delay();
  const Fault fault = begin(Operation::kReserveSpace, offset, length, WriteFlags::kNone);
  if (fault.errno_value != 0) fail(Operation::kReserveSpace, fault.errno_value);
  co_await below().reserve_space(offset, length);
}

Task<void> FaultDevice::do_flush() {
  co_await delay();
  const Fault fault = begin(Operation::kFlush, 0, 0, WriteFlags::kNone);
  if (fault.errno_value != 0) fail(Operation::kFlush, fault.errno_value);
  co_await below().flush();
}

Task<std::vector<Extent>> FaultDevice::do_extents(uint64_t offset, uint64_t length,
                                                  ExtentScope scope) {
  co_await delay();
  const Fault fault = begin(Operation::kExtents, offset, length, WriteFlags::kNone);
  if (fault.errno_value != 0) fail(Operation::kExtents, fault.errno_value);
  std::vector<Extent> result = co_await below().extents(offset, length, scope);
  // A caller that follows an extent to its file must pass through this device again.
  for (Extent& extent : result) {
    if (extent.file == &below()) extent.file = this;
  }
  co_return result;
}

Task<void> FaultDevice::do_resize(uint64_t new_size, Preallocation preallocation) {
  co_await delay();
  const Fault fault = begin(Operation::kResize, 0, new_size, WriteFlags::kNone);
  if (fault.errno_value != 0) fail(Operation::kResize, fault.errno_value);
  co_await below().resize(new_size, preallocation);
}

Task<void> FaultDevice::do_close() {
  co_await delay();
  const Fault fault = begin(Operation::kClose, 0, 0, WriteFlags::kNone);
  // Like a file's close: it is closed, and the error is reported.
  co_await below().close();
  if (fault.errno_value != 0) fail(Operation::kClose, fault.errno_value);
}

}  // namespace byre::faults
