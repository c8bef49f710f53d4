// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "block/block_device.h"
#include "open/open.h"

namespace byre::jobs {

// All states of the disk of a qcow2 image: its snapshots in the order of their table, then the active
// disk. They read the same file, and can be compared by their tables.
class SourceStates {
 public:
  // `active` is open read-only, and outlives it. Throws if its format has no snapshots, or if its
  // snapshots cannot be read.
  explicit SourceStates(BlockDevice* active);

  // Opens all snapshots; an error names the snapshot.
  Task<void> open();
  // Releases what open() took.
  Task<void> close();

  size_t snapshots() const { return active_->snapshots().size(); }
  const qcow2::layout::Snapshot& snapshot(size_t index) const {
    return active_->snapshots()[index];
  }
  // Whether all snapshots have the size of the disk.
  bool have_one_size() const;
  // REQUIRES: open() has succeeded. The state at that index, at most snapshots().
  qcow2::Image* at(size_t index) const;

 private:
  using Images = std::vector<std::unique_ptr<qcow2::Image>>;

  void check_l1_sizes() const;
  Task<std::unique_ptr<qcow2::Image>> open_at(size_t index) const;

  qcow2::Image* active_;
  Images images_;  // of the snapshots
};

}  // namespace byre::jobs
