// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "testing/simulated_cache.h"

namespace byre::faults {

// A disk, or a file on one, that behaves as badly as the contract of BlockDevice allows, all of it
// determined by a seed. What must hold on this disk holds on a real one.
//
// - Requests take a random time to begin and to end, and overtake one another. Use it on a Loop
//   with a seed, so that runs are reproducible.
// - What was written is visible at once, and durable after a flush that was called when the write
//   was done; until then a power cut keeps or loses each sector independently, older and newer
//   versions alike (SimulatedCache::power_cut()).
// - Requests fail at the given odds: reads and flushes with EIO, writes with EIO or ENOSPC and
//   partly done. A failed flush may have made any part durable, and may have forgotten any other
//   part, which the next flush then does not make durable, either.
// - Space can run out, and come back: set_room().
// - With MemoryFaults, there may be no memory to start a request, and none to end one that was
//   done. The contents of the simulated disk itself are not subject to this.
class SimulatedDisk final : public BlockDevice {
 public:
  // What a discarded range reads as: zeroes, its former contents, or anything.
  enum class Discards { kClear, kKeep, kGarbage };
  struct Options {
    uint64_t seed = 1;
    std::string filename = "simulated";
    bool grows = true;  // a file; else a disk of fixed size
    Discards discards = Discards::kClear;
    // How many times as long as other requests a flush takes.
    uint32_t flush_waits = 1;
    uint32_t write_waits = 1;  // and a write
    // Only flushes that end while another one is in flight fail, and they lose nearly everything
    // that was not durable.
    bool loses_one_of_two_flushes = false;
  };
  // The number of failing requests out of 65536.
  struct Odds {
    uint32_t read = 0;
    uint32_t write = 0;
    uint32_t flush = 0;
  };
  // Moments at which a simulated power cut may be interesting.
  enum class Moment {
    kWritten,      // a request has changed the contents, but is not done yet
    kFlushing,     // a flush is about to begin
    kFlushEnd,     // a flush is about to make data durable
    kFlushFailed,  // a flush has failed, and its caller does not know yet
  };

  SimulatedDisk(SimulatedCache cache, Options options);
  ~SimulatedDisk() override;

  const std::string& filename() const override { return options_.filename; }
  const char* driver() const override { return "simulated"; }
  uint64_t size() const override { return cache_.now().size(); }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return false; }

  std::optional<uint64_t> allocated_size() const override { return cache_.now().allocated(); }

  void set_odds(Odds odds) { odds_ = odds; }
  // A write that would exceed this amount of space in total fails with ENOSPC.
  void set_room(uint64_t bytes) { room_ = bytes; }
  // A write that would extend the file past this size fails with EFBIG.
  void set_size_max(uint64_t bytes) { size_max_ = bytes; }
  // From now on every request that has not changed anything yet fails at once.
  void power_off() { is_off_ = true; }
  // Called at those moments, with the length of the write. It may inspect cache() and cut the
  // power.
  using OnMoment = std::function<void(Moment, uint64_t length)>;
  void set_on_moment(OnMoment on_moment) { on_moment_ = std::move(on_moment); }
  // Called with one line for each request, when it is applied to the disk.
  void set_trace(std::function<void(const std::string&)> trace) { trace_ = std::move(trace); }

  const SimulatedCache& cache() const { return cache_; }
  uint64_t requests() const { return next_id_ - first_id_; }

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

  using Write = SimulatedCache::Write;
  struct Change;
  struct Ending;

  bool is_unlucky(uint32_t odds);
  Task<void> wait();
  Task<void> apply(Change change);
  std::shared_ptr<Write> make_write();
  void perform_change(const Change& change, const std::shared_ptr<Write>& write);
  void perform_read(uint64_t offset, const ReadBuffers& to);
  void perform_reserve(uint64_t offset, uint64_t length);
  void perform_flush(uint64_t called_at);
  void perform_resize(uint64_t new_size);
  std::vector<uint8_t> draw_garbage(uint64_t length);
  // 0, or the reason why the change is not possible: ENOSPC, EFBIG.
  int refusal(const Change& change) const;
  void change_contents(const Change& change, uint64_t begin, uint64_t end,
                       const std::shared_ptr<Write>& write);
  void check_power() const;
  [[noreturn]] void fail(const char* what, uint64_t offset, uint64_t length, int errno_value) const;
  void tell(const char* what, uint64_t offset, uint64_t length, const char* outcome) const;
  void moment(Moment which, uint64_t length) const;

  SimulatedCache cache_;
  Options options_;
  Limits limits_;
  std::mt19937_64 random_;
  Odds odds_;
  uint32_t flushes_under_way_ = 0;
  uint64_t room_ = UINT64_MAX;
  uint64_t size_max_ = UINT64_MAX;
  bool is_off_ = false;
  uint64_t clock_ = 1;  // counts events
  uint64_t first_id_ = 1;
  uint64_t next_id_ = 1;
  OnMoment on_moment_;
  std::function<void(const std::string&)> trace_;
};

}  // namespace byre::faults
