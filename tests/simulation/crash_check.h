// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "simulation/files.h"
#include "simulation/guest_model.h"
#include "simulation/plan.h"

namespace byre::simulation {

// What is wrong with the image, as its check reports it; nullopt if it is sound. Leaks are no error
// after a crash.
std::optional<std::string> check_soundness(const Files& files, bool leaks_allowed);
// An internal snapshot, and the contents of the guest's disk when it was made. It keeps them with
// what the image was on at that time.
struct FrozenSnapshot {
  std::string name;
  std::vector<uint8_t> bytes;
  Below below = {};
  bool is_certain = true;  // else it may be there or not: it is being created or deleted
};

// Whether the image has a snapshot of that name.
bool has_snapshot(const Files& files, const std::string& name);
// What is wrong with the snapshot; nullopt if it is as it was made.
std::optional<std::string> check_snapshot(const Files& files, const FrozenSnapshot& snapshot);
// The contents of the snapshot's disk, with what the image is on now. REQUIRES: there is one.
std::vector<uint8_t> read_snapshot(const Files& files, const std::string& name);

// What must be true whenever the image is examined.
struct Promise {
  const GuestModel* model = nullptr;
  const std::vector<FrozenSnapshot>* snapshots = nullptr;
  // The contents of the disk when its bitmap was made.
  const std::optional<std::vector<uint8_t>>* of_bitmap = nullptr;
  bool is_raw = false;       // the data file has the guest's view
  bool has_commits = false;  // images below are written to
};

// Checks that the files left by a crash are as promised; returns what is wrong. With `writes`, also
// that the image accepts writes, drawn from `seed`, and is sound afterwards.
std::optional<std::string> check_crash(const Files& files, const Promise& promise, bool writes,
                                       uint64_t seed);

}  // namespace byre::simulation
