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

// True once in `n` times on average.
inline bool one_in(Random& random, uint64_t n) {
  return random() % n == 0;
}

// The parameters of one seed: the image, its disks, and the faults. Drawn from the seed alone,
// small values most often, so that thousands of seeds combine every feature with every other.
struct Plan {
  qcow2::CreateOptions create;
  std::optional<uint64_t> backing_size;
  bool file_grows = true;          // else a disk of fixed size with old data
  uint64_t file_size = 0;          // of such a disk
  bool data_is_strangers = false;  // the data file has old data before the image is created
  faults::SimulatedDisk::Discards discards = faults::SimulatedDisk::Discards::kClear;
  bool discards_freed = false;   // freed clusters are discarded in the file
  bool keeps_discarded = false;  // discard_no_unref
  uint64_t cache_size = 0;       // of the metadata caches; 0: the default
  uint64_t filled = 0;           // written before everything else
  uint64_t hot_begin = 0;        // where half of the requests go
  uint64_t hot_size = 0;
  bool takes_snapshots = false;           // internal ones, between sessions
  bool empties = false;                   // makes the disk as it was when it was created
  bool amends = false;                    // changes the image's properties
  bool manages_snapshots = false;         // creates, applies and deletes them
  bool shares = false;                    // sets ranges back to what snapshots have
  bool rebases = false;                   // changes the backing file
  bool commits = false;                   // copies into the backing file, or the one below it
  bool has_chain = false;                 // the backing file is an image with a backing file
  bool has_bitmap = false;                // one, replaced now and then between sessions
  bool is_repaired = false;               // now and then, between sessions
  uint32_t depth = 1;                     // requests in flight
  uint32_t requests = 0;                  // in all
  uint32_t sessions = 1;                  // openings
  uint32_t flush_error_odds = 0;          // of 65536 flushes
  uint32_t flush_waits = 1;               // duration of a flush, in units of other requests
  uint32_t write_waits = 1;               // the same for writes, after the disk has the data
  bool loses_one_of_two_flushes = false;  // and no other flushes
  uint32_t error_odds = 0;                // of 65536 requests to a disk
  bool runs_full = false;                 // disks run out of space now and then
  bool is_full_at_once = false;           // before the first table is written
  bool has_size_max = false;              // instead, files cannot grow now and then
  uint64_t memory_odds = 0;               // one in this many allocations fails; 0: none
  bool writes_through = false;            // each request is durable when it completes
  uint32_t cuts_per_moment = 1;           // power cuts tried each time
  uint64_t moment_odds = 1;               // one in this many moments is tried

  // Features to be counted: "version 2", "extended L2", ...
  std::vector<std::string> features() const;
  std::string describe() const;
};

Plan make_plan(uint64_t seed);

}  // namespace byre::simulation
