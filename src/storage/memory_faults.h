// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>

namespace byre::storage {

// Says which allocations of memory fail, to a program that replaces operator new with one that asks
// is_next(). Of one thread; without a call of begin() none fails.
class MemoryFaults {
 public:
  // From now on one allocation in `odds` fails, at random, until end(). Gives the same each time
  // that the program does the same.
  static void begin(uint64_t seed, uint64_t odds) {
    random_.seed(seed);
    odds_ = odds;
    left_ = next_distance();
    failed_ = 0;
  }
  static void end() { odds_ = failed_ = 0; }

  // Whether this allocation fails.
  static bool is_next() {
    if (odds_ == 0 || pauses_ > 0 || --left_ > 0) return false;
    left_ = next_distance();
    ++failed_;
    return true;
  }

  // How many have failed since begin().
  static uint64_t failed() { return failed_; }

  // None fails while it lives: in what watches, and in what has its memory elsewhere in real life.
  // Not to be held across an await.
  class Pause {
   public:
    Pause() { ++pauses_; }
    ~Pause() { --pauses_; }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
  };

 private:
  static uint64_t next_distance() { return 1 + random_() % (2 * odds_); }

  static inline thread_local std::minstd_rand random_;
  static inline thread_local uint64_t odds_ = 0;
  static inline thread_local uint64_t left_ = 0;
  static inline thread_local uint64_t failed_ = 0;
  static inline thread_local uint32_t pauses_ = 0;
};

}  // namespace byre::storage
