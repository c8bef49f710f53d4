// SPDX-License-Identifier: Apache-2.0
// How the disks of a session fill up.
#include "simulation/session.h"

namespace byre::simulation {

using faults::SimulatedDisk;
using storage::SparseBytes;

// Makes the disks run out of space, and after a while provides space again.
void Session::change_room() {
  is_tight_ = !is_tight_;
  if (is_tight_) ++tight_times_;
  world_->tell(is_tight_ ? "the disks are nearly full" : "the disks have space again");
  set_room(is_tight_);
}

void Session::set_room(bool is_tight) {
  for (SimulatedDisk* const disk : {file_, data_}) {
    if (disk == nullptr) continue;
    const uint64_t left = random_() % 4 * SparseBytes::kChunkSize;
    if (world_->plan.has_size_max) {
      disk->set_size_max(is_tight ? disk->size() + left : UINT64_MAX);
    } else {
      disk->set_room(is_tight ? *disk->allocated_size() + left : UINT64_MAX);
    }
  }
}

}  // namespace byre::simulation
