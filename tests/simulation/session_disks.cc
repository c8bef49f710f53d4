// SPDX-License-Identifier: Apache-2.0
// The disks of a session, and how they fill up.
#include "simulation/session.h"

namespace byre::simulation {

using faults::SimulatedDisk;
using storage::SparseBytes;

void Session::power_off() {
  is_off_ = true;
  for (SimulatedDisk* const disk : disks()) disk->power_off();
}

std::vector<SimulatedDisk*> Session::disks() const {
  std::vector<SimulatedDisk*> disks;
  if (file_ != nullptr) disks.push_back(file_);
  if (data_ != nullptr) disks.push_back(data_);
  for (const auto& [name, disk] : below_) disks.push_back(disk);
  return disks;
}

std::unique_ptr<SimulatedDisk> Session::make_disk(faults::SimulatedCache cache,
                                                  const std::string& name, bool grows) {
  const Plan& plan = world_->plan;
  SimulatedDisk::Options options;
  options.seed = random_();
  options.filename = name;
  options.grows = grows;
  options.discards = plan.discards;
  options.flush_waits = plan.flush_waits;
  options.write_waits = plan.write_waits;
  options.loses_one_of_two_flushes = plan.loses_one_of_two_flushes;
  auto disk = std::make_unique<SimulatedDisk>(std::move(cache), options);
  disk->set_trace(world_->trace);
  disk->set_on_moment(
      [this](SimulatedDisk::Moment moment, uint64_t length) { on_moment(moment, length); });
  return disk;
}

// Only a commit writes to what is below the image.
OpenFile Session::open_below() {
  const FilesByName* const files = &world_->below.files;
  if (!world_->plan.commits) return copies_of(files);
  return [this, files](const std::string& name) {
    auto disk = make_disk(faults::SimulatedCache(files->at(name)), name, true);
    below_[name] = disk.get();
    return disk;
  };
}

// Makes the disks run out of space, and after a while provides space again.
void Session::change_room() {
  is_tight_ = !is_tight_;
  if (is_tight_) ++tight_times_;
  world_->tell(is_tight_ ? "the disks are nearly full" : "the disks have space again");
  set_room(is_tight_);
}

void Session::set_room(bool is_tight) {
  for (SimulatedDisk* const disk : disks()) {
    const uint64_t left = random_() % 4 * SparseBytes::kChunkSize;
    if (world_->plan.has_size_max) {
      disk->set_size_max(is_tight ? disk->size() + left : UINT64_MAX);
    } else {
      disk->set_room(is_tight ? *disk->allocated_size() + left : UINT64_MAX);
    }
  }
}

}  // namespace byre::simulation
