// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>

namespace byre::faults {

// Selects the memory allocations that fail, for test programs that replace operator new by one that
// calls is_next(): tests/support/replaced_new.h. Per thread; none fails before begin() or
// begin_at(), or after end().
class MemoryFaults {
 public:
  // From now on one allocation in `odds` fails, drawn from the seed.
  static void begin(uint64_t seed, uint64_t odds) {
    end();
    random_.seed(seed);
    odds_ = odds;
    next_ = draw_distance();
  }
  // From now on allocations are counted, and the one with this number fails: 1 is the first, 0 is
  // none.
  static void begin_at(uint64_t number) {
    end();
    next_ = number;
  }
  // The same, and all later ones fail as well.
  static void begin_all_from(uint64_t number) {
    begin_at(number);
    all_follow_ = true;
  }
  static void end() {
    odds_ = next_ = asked_ = failed_ = 0;
    all_follow_ = false;
  }

  // Between these two calls no allocation fails or counts: for code that observes, and for
  // simulated hardware whose memory would really be elsewhere. They nest.
  static void hold() { ++holds_; }
  static void go_on() { --holds_; }
  // For a scope without an await.
  class Pause {
   public:
    Pause() { hold(); }
    ~Pause() { go_on(); }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
  };

  // Whether this allocation fails.
  static bool is_next() {
    if (holds_ > 0 || ++asked_ != next_) return false;
    if (odds_ != 0) next_ += draw_distance();
    if (all_follow_) ++next_;
    ++failed_;
    return true;
  }

  // The allocations since it began: how many there were, and how many of them failed.
  static uint64_t asked() { return asked_; }
  static uint64_t failed() { return failed_; }

 private:
  static uint64_t draw_distance() { return 1 + random_() % (2 * odds_); }

  static inline thread_local std::minstd_rand random_;
  static inline thread_local uint64_t odds_ = 0;
  static inline thread_local uint64_t next_ = 0;  // the number of the one that fails
  static inline thread_local bool all_follow_ = false;
  static inline thread_local uint64_t asked_ = 0;
  static inline thread_local uint64_t failed_ = 0;
  static inline thread_local uint32_t holds_ = 0;
};

}  // namespace byre::faults
