// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "qcow2/create/create.h"
#include "testing/simulated_disk.h"

namespace byre::simulation {

using Random = std::mt19937_64;

// One time in `n`.
inline bool one_in(Random& random, uint64_t n) {
  return random() % n == 0;
}

// What one seed simulates: the image, its disks, and how hard they are treated. Drawn from the seed
// alone, small ones most often, so that thousands of seeds meet every feature with every other.
struct Plan {
  qcow2::CreateOptions create;
  std::optional<uint64_t> backing_size;
  bool file_grows = true;          // else a disk of fixed size that was somebody else's
  uint64_t file_size = 0;          // of such a disk
  bool data_is_strangers = false;  // the data file holds another's bytes before the image is made
  faults::SimulatedDisk::Discards discards = faults::SimulatedDisk::Discards::kClear;
  bool discards_freed = false;   // clusters that became free are discarded in the file
  bool keeps_discarded = false;  // discard_no_unref
  uint64_t cache_size = 0;       // of the metadata caches; 0: the default
  uint64_t filled = 0;           // written before everything else
  uint64_t hot_begin = 0;        // where half of the requests go
  uint64_t hot_size = 0;
  bool takes_snapshots = false;           // internal ones, between openings
  bool has_bitmap = false;                // one, made anew now and then between openings
  bool is_repaired = false;               // now and then, between openings
  uint32_t depth = 1;                     // requests at a time
  uint32_t requests = 0;                  // in all
  uint32_t sessions = 1;                  // openings
  uint32_t flush_error_odds = 0;          // of 65536 flushes
  uint32_t flush_waits = 1;               // how many times as long as other requests they take
  uint32_t write_waits = 1;               // and writes, once the disk has what they write
  bool loses_one_of_two_flushes = false;  // and no others
  uint32_t error_odds = 0;                // of 65536 requests to a disk
  bool runs_full = false;                 // disks run out of space now and then
  bool is_full_at_once = false;           // before the first table is written
  bool has_size_max = false;              // instead, files cannot grow now and then
  uint64_t memory_odds = 0;               // one allocation in so many fails; 0: none
  bool writes_through = false;            // each request is durable when it is done
  uint32_t cuts_per_moment = 1;           // power cuts looked at each time
  uint64_t moment_odds = 1;               // one moment in so many is looked at

  // What is worth counting: "version 2", "extended L2", ...
  std::vector<std::string> features() const;
  std::string describe() const;
};

Plan make_plan(uint64_t seed);

}  // namespace byre::simulation
