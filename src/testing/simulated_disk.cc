// SPDX-License-Identifier: Apache-2.0
#include "testing/simulated_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <utility>

#include "async/loop.h"
#include "base/checked.h"
#include "byre/error.h"
#include "storage/preallocation.h"
#include "testing/memory_faults.h"

namespace byre::faults {

namespace {

constexpr size_t kExtentsMax = 64;
// A slow request takes up to this long; time is that of the loop, and costs nothing.
constexpr uint64_t kSlowNanosecondsMax = 1000;
// How many turns other coroutines may get first.
constexpr uint64_t kTurnsMax = 8;

}  // namespace

// A request that changes bytes: those of `from`, or zeroes.
struct SimulatedDisk::Change {
  const char* name = "";
  uint64_t offset = 0;
  uint64_t length = 0;
  const WriteBuffers* from = nullptr;
  bool frees_space = false;
  WriteFlags flags = WriteFlags::kNone;
};

SimulatedDisk::SimulatedDisk(SimulatedCache cache, Options options)
    : cache_(std::move(cache)), options_(std::move(options)), random_(options_.seed) {
  next_id_ = first_id_ = cache_.settle() + 1;
  limits_.can_write_zeroes_unmapped = true;
  limits_.grows = options_.grows;
  // The initial contents of a disk of fixed size are unknown.
  limits_.is_zero_initialised = options_.grows;
}

SimulatedDisk::~SimulatedDisk() = default;

bool SimulatedDisk::is_unlucky(uint32_t odds) {
  return odds != 0 && random_() % 65536 < odds;
}

void SimulatedDisk::check_power() const {
  if (is_off_) throw Error::from_errno(EIO, options_.filename + ": the power is off");
}

void SimulatedDisk::moment(Moment which, uint64_t length) const {
  const MemoryFaults::Pause pause;
  if (on_moment_) on_moment_(which, length);
}

void SimulatedDisk::tell(const char* what, uint64_t offset, uint64_t length,
                         const char* outcome) const {
  if (!trace_) return;
  const MemoryFaults::Pause pause;
  trace_(fmt::format("{}: {} {:#x}+{:#x}{}{}", options_.filename, what, offset, length,
                     *outcome == '\0' ? "" : ": ", outcome));
}

void SimulatedDisk::fail(const char* what, uint64_t offset, uint64_t length,
                         int errno_value) const {
  tell(what, offset, length,
       errno_value == ENOSPC  ? "fails, ENOSPC"
       : errno_value == EFBIG ? "fails, EFBIG"
                              : "fails, EIO");
  throw Error::from_errno(errno_value, fmt::format("{}: {}", options_.filename, what));
}

// Sometimes does not wait at all, sometimes for a few turns, sometimes until everything else that
// is ready has run.
namespace {

// Counts one more while it exists.
struct Count {
  explicit Count(uint32_t* n) : number(n) { ++*number; }
  ~Count() { --*number; }
  Count(const Count&) = delete;
  Count& operator=(const Count&) = delete;
  uint32_t* number;
};

}  // namespace

Task<void> SimulatedDisk::wait() {
  Loop& loop = Loop::current();
  const uint64_t mood = random_() % 4;
  if (mood == 0) co_return;
  if (mood < 3) {
    for (uint64_t turns = random_() % kTurnsMax; turns > 0; --turns) co_await loop.yield();
    co_return;
  }
  const std::chrono::nanoseconds while_(random_() % kSlowNanosecondsMax + 1);
  co_await loop.sleep_for(while_);
}

void SimulatedDisk::perform_read(uint64_t offset, const ReadBuffers& to) {
  const MemoryFaults::Pause pause;
  if (is_unlucky(odds_.read)) fail("read", offset, to.size(), EIO);
  if (!range_fits(offset, to.size(), size())) fail("read", offset, to.size(), EINVAL);
  uint64_t at = offset;
  for (const iovec& segment : to.segments()) {
    cache_.now().read(at, {static_cast<uint8_t*>(segment.iov_base), segment.iov_len});
    at += segment.iov_len;
  }
  tell("read", offset, to.size(), "");
}

Task<void> SimulatedDisk::do_read(uint64_t offset, ReadBuffers to) {
  co_await wait();
  check_power();
  perform_read(offset, to);
  co_await wait();
  check_power();
}

Task<void> SimulatedDisk::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  const Change change{"write", offset, from.size(), &from, false, flags};
  co_await apply(change);
}

Task<void> SimulatedDisk::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  const bool frees = has_flag(flags, WriteFlags::kMayUnmap);
  const Change change{"write_zeroes", offset, length, nullptr, frees, flags};
  co_await apply(change);
}

// The contents that a discarded range is to read as; empty for zeroes.
std::vector<uint8_t> SimulatedDisk::draw_garbage(uint64_t length) {
  const MemoryFaults::Pause pause;
  std::vector<uint8_t> garbage;
  if (options_.discards != Discards::kGarbage) return garbage;
  garbage.resize(length);
  for (uint8_t& byte : garbage) byte = static_cast<uint8_t>(random_() | 1);
  return garbage;
}

Task<void> SimulatedDisk::do_discard(uint64_t offset, uint64_t length) {
  if (options_.discards == Discards::kKeep) {
    tell("discard", offset, length, "ignored");
    co_return;
  }
  const std::vector<uint8_t> garbage = draw_garbage(length);
  const WriteBuffers from((ConstBytes(garbage)));
  const Change change{"discard", offset,           length, garbage.empty() ? nullptr : &from,
                      true,      WriteFlags::kNone};
  co_await apply(change);
}

// Applies the part [begin, end) of it.
void SimulatedDisk::change_contents(const Change& change, uint64_t begin, uint64_t end,
                                    const std::shared_ptr<Write>& write) {
  if (begin == end) return;
  if (change.from == nullptr) {
    cache_.clear(begin, end - begin, write);
    return;
  }
  const WriteBuffers part = change.from->slice(begin - change.offset, end - begin);
  std::vector<uint8_t> joined;
  ConstBytes bytes = part.contiguous();
  if (bytes.size() != part.size()) {
    joined.resize(part.size());
    part.copy_to(joined);
    bytes = joined;
  }
  cache_.write(begin, bytes, write);
}

int SimulatedDisk::refusal(const Change& change) const {
  if (change.offset + change.length > std::max(size_max_, size())) return EFBIG;
  if (change.frees_space || room_ == UINT64_MAX) return 0;
  const uint64_t missing = cache_.now().missing_in(change.offset, change.length);
  return missing == 0 || cache_.now().allocated() + missing <= room_ ? 0 : ENOSPC;
}

// Marks a request that has changed something as over when this is destroyed, however that happens.
struct SimulatedDisk::Ending {
  Ending(std::shared_ptr<Write> write_, uint64_t* clock_)
      : write(std::move(write_)), clock(clock_) {}
  ~Ending() { end(); }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  void end() const {
    if (write->done_at == SimulatedCache::kUnderWay) write->done_at = (*clock)++;
  }
  std::shared_ptr<Write> write;
  uint64_t* clock;
};

std::shared_ptr<SimulatedDisk::Write> SimulatedDisk::make_write() {
  const MemoryFaults::Pause pause;
  auto write = std::make_shared<Write>();
  write->id = next_id_++;
  return write;
}

// Applies all of it, or nothing, or any of its sectors; throws if it fails.
void SimulatedDisk::perform_change(const Change& change, const std::shared_ptr<Write>& write) {
  const MemoryFaults::Pause pause;
  int errno_value = refusal(change);
  const bool is_full = errno_value != 0;
  if (is_full) {
    // Nothing is done.
  } else if (is_unlucky(odds_.write)) {
    errno_value = change.frees_space || random_() % 3 != 0 ? EIO : ENOSPC;
  }
  const uint64_t end = change.offset + change.length;
  if (errno_value == 0) {
    change_contents(change, change.offset, end, write);
  } else if (!is_full) {
    // Any of its sectors may have been written.
    for (uint64_t at = change.offset; at < end;) {
      const uint64_t part_end = std::min(end, align_down(at, kSectorSize) + kSectorSize);
      if (random_() % 2 == 0) change_contents(change, at, part_end, write);
      at = part_end;
    }
  }
  moment(Moment::kWritten, change.length);
  if (errno_value != 0) fail(change.name, change.offset, change.length, errno_value);
  tell(change.name, change.offset, change.length, "");
}

Task<void> SimulatedDisk::apply(Change change) {
  co_await wait();
  check_power();
  const Ending ending(make_write(), &clock_);
  perform_change(change, ending.write);
  if (has_flag(change.flags, WriteFlags::kFua)) {
    ending.end();
    cache_.make_durable(ending.write->done_at);
    co_return;
  }
  for (uint32_t i = 0; i < options_.write_waits; ++i) co_await wait();
  ending.end();
  check_power();
}

void SimulatedDisk::perform_reserve(uint64_t offset, uint64_t length) {
  const MemoryFaults::Pause pause;
  const Change change{"reserve_space", offset, length, nullptr, false, WriteFlags::kNone};
  const int errno_value = refusal(change);
  if (errno_value != 0) fail(change.name, offset, length, errno_value);
  if (is_unlucky(odds_.write)) fail(change.name, offset, length, EIO);
  if (offset + length > size()) {
    cache_.resize(offset + length, std::make_shared<Write>(Write{next_id_++, clock_++}));
  }
  cache_.reserve(offset, length);
  tell(change.name, offset, length, "");
}

Task<void> SimulatedDisk::do_reserve_space(uint64_t offset, uint64_t length) {
  co_await wait();
  check_power();
  perform_reserve(offset, length);
}

void SimulatedDisk::perform_flush(uint64_t called_at) {
  const MemoryFaults::Pause pause;
  ++next_id_;
  moment(Moment::kFlushEnd, 0);
  check_power();
  const bool may_fail = !options_.loses_one_of_two_flushes || flushes_under_way_ > 1;
  if (may_fail && is_unlucky(odds_.flush)) {
    if (options_.loses_one_of_two_flushes) {
      cache_.forget(random_(), 16);
    } else {
      if (random_() % 2 == 0) cache_.make_durable(random_() % (called_at + 1));
      if (random_() % 2 == 0) cache_.forget(random_(), 2);
    }
    moment(Moment::kFlushFailed, 0);
    check_power();
    fail("flush", 0, 0, EIO);
  }
  cache_.flush(called_at);
  tell("flush", 0, 0, "");
}

Task<void> SimulatedDisk::do_flush() {
  check_power();
  const uint64_t called_at = clock_++;
  const Count under_way(&flushes_under_way_);
  moment(Moment::kFlushing, 0);
  for (uint32_t i = 0; i < options_.flush_waits; ++i) co_await wait();
  check_power();
  perform_flush(called_at);
}

Task<std::vector<Extent>> SimulatedDisk::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  co_return extents_of(cache_.now(), offset, length, kExtentsMax, this);
}

void SimulatedDisk::perform_resize(uint64_t new_size) {
  const MemoryFaults::Pause pause;
  if (!options_.grows && new_size != size()) fail("resize", 0, new_size, ENOTSUP);
  if (is_unlucky(odds_.write)) fail("resize", 0, new_size, EIO);
  const auto write = std::make_shared<Write>(Write{next_id_++, clock_++});
  cache_.resize(new_size, write);
  tell("resize", 0, new_size, "");
  moment(Moment::kWritten, 0);
}

Task<void> SimulatedDisk::do_resize(uint64_t new_size, Preallocation preallocation) {
  storage::check_file_preallocation(*this, new_size, preallocation);
  co_await wait();
  check_power();
  perform_resize(new_size);
}

Task<void> SimulatedDisk::do_close() {
  co_return;
}

}  // namespace byre::faults
