// SPDX-License-Identifier: Apache-2.0
// What a session checks on the way, and how it ends.
#include <fmt/format.h>

#include "simulation/session.h"

namespace byre::simulation {

using faults::SimulatedDisk;

namespace {

// Moments of writes this small are tried most often.
constexpr uint64_t kRareWriteMax = 24;
// A write of the header that names another table.
constexpr uint64_t kTableWrite = 12;
// A write of the header that names all tables.
constexpr uint64_t kTableSetWrite = 48;
constexpr uint32_t kTableMoments = 16;
constexpr uint32_t kCutsOfTableMoment = 6;
// One in this many checks also tries whether the image can be written to.
constexpr uint64_t kTrialOdds = 6;

bool raw_begins_with(const Files& files, const std::vector<uint8_t>& bytes) {
  if (files.data->size() < bytes.size()) return false;
  std::vector<uint8_t> raw(bytes.size());
  files.data->read(0, raw);
  return raw == bytes;
}

}  // namespace

void Session::on_moment(SimulatedDisk::Moment moment, uint64_t length) {
  if (is_off_ || is_filling_) return;
  // A session does not end before it has begun: if opening writes, it repairs, and is only
  // observed.
  // A process that is killed when the header names other tables, but not durably, is what the next
  // one must not build on.
  const bool is_switch = end_ == End::kKill && length == kTableSetWrite &&
                         moment == SimulatedDisk::Moment::kWritten && one_in(cut_random_, 3);
  if (image_ && (++moments_ == cut_at_ || is_switch)) {
    if (end_ == End::kPowerCut) {
      end_at_power_cut();
    } else {
      world_->tell("killed");
      power_off();
    }
    return;
  }
  // Most can be lost before a flush. Rare small writes are those of the header, or of an entry of
  // the refcount table: more moments are tried there, and for a while after. Once a flush has
  // failed few moments are left, those of what is in flight: each is tried.
  using Moment = SimulatedDisk::Moment;
  const bool is_flush = moment != Moment::kWritten;
  has_flush_failed_ |= moment == Moment::kFlushFailed;
  if (length > 0 && length <= kRareWriteMax && length % 4 == 0) {
    rare_moments_left_ = kRareMoments;
  } else if (rare_moments_left_ > 0) {
    --rare_moments_left_;
  }
  if (length == kTableWrite) {
    table_moments_left_ = kTableMoments;
  } else if (table_moments_left_ > 0) {
    --table_moments_left_;
  }
  const uint64_t weight = rare_moments_left_ > 0 ? 8 : is_flush || changes_base_ ? 3 : 1;
  const uint64_t odds = has_flush_failed_ ? 1 : world_->plan.moment_odds;
  if (cut_random_() % odds < weight) look_at_cuts();
}

void Session::look_at_cuts() {
  const uint32_t cuts = table_moments_left_ > 0 ? kCutsOfTableMoment : world_->plan.cuts_per_moment;
  for (uint32_t i = 0; i < cuts && !is_off_; ++i) {
    const Files files = cut_power(cut_random_());
    const bool writes = one_in(cut_random_, kTrialOdds);
    look(files, writes);
  }
}

Files Session::cut_power(uint64_t seed) {
  ++world_->counts.crashes;
  std::string told;
  std::string* const out = world_->trace ? &told : nullptr;
  const auto cut = [&](const SimulatedDisk* disk) {
    storage::SparseBytes left = disk->cache().power_cut(seed++, out);
    if (out != nullptr) world_->tell(disk->filename() + ": " + told);
    return left;
  };
  Files files{cut(file_), std::nullopt, world_->below.files};
  if (data_ != nullptr) files.data = cut(data_);
  for (const auto& [name, disk] : below_) files.below[name] = cut(disk);
  return files;
}

void Session::look(const Files& files, bool writes) {
  const std::optional<std::string> wrong =
      check_crash(files, world_->promise(), writes, cut_random_());
  if (wrong) fail("after a power cut: " + *wrong);
}

void Session::end_at_power_cut() {
  left_ = cut_power(cut_random_());
  world_->tell("the history continues with what that left");
  look(*left_, true);
  power_off();
}

// Prepares the world for the next session.
std::optional<std::string> Session::settle_end() {
  for (const SimulatedDisk* const disk : disks()) world_->counts.disk_requests += disk->requests();
  GuestModel& model = *world_->model;
  if (left_) {
    const std::vector<uint8_t> bytes = read_guest(*left_);
    model.restart(bytes);
    // What may have been there is there or not.
    std::erase_if(world_->snapshots, [this](const FrozenSnapshot& snapshot) {
      return !has_snapshot(*left_, snapshot.name);
    });
    for (FrozenSnapshot& snapshot : world_->snapshots) snapshot.is_certain = true;
    world_->is_raw_equal = world_->is_raw_equal && raw_begins_with(*left_, bytes);
    world_->file.emplace(left_->file);
    if (left_->data) world_->data.emplace(*left_->data);
    world_->below.files = left_->below;
    world_->leaks_allowed = true;
    return settle_below(*left_);
  }
  world_->file = file_->cache();
  world_->file->settle();
  if (data_ != nullptr) {
    world_->data = data_->cache();
    world_->data->settle();
  }
  // After a kill the host has the time to make these durable.
  for (const auto& [name, disk] : below_) {
    faults::SimulatedCache cache = disk->cache();
    cache.settle();
    world_->below.files[name] = cache.now();
  }
  const Files files = world_->files();
  if (!is_closed_) {
    ++world_->counts.crashes;
    world_->leaks_allowed = true;
    const std::optional<std::string> wrong =
        check_crash(files, world_->promise(), false, cut_random_());
    if (wrong) return "after a kill: " + *wrong;
    const std::vector<uint8_t> bytes = read_guest(files);
    model.observe(bytes);
    world_->is_raw_equal = world_->is_raw_equal && raw_begins_with(files, bytes);
    return settle_below(files);
  }
  const std::optional<std::string> wrong_end = settle_closed(files);
  if (wrong_end) return "after it was closed: " + *wrong_end;
  return settle_below(files);
}

std::optional<std::string> Session::settle_closed(const Files& files) {
  const std::optional<std::string> unsound = check_soundness(files, world_->leaks_allowed);
  if (unsound) return unsound;
  const std::vector<uint8_t> bytes = read_guest(files);
  const std::optional<std::string> wrong = world_->model->check_read(0, bytes);
  if (wrong) return wrong;
  if (world_->is_raw_equal && !raw_begins_with(files, bytes)) {
    return "the raw data file is not what the guest sees";
  }
  // After a close a power cut changes nothing.
  const Files later = cut_power(cut_random_());
  const std::optional<std::string> lost =
      check_crash(later, world_->promise(), false, cut_random_());
  if (lost) return "and a power cut: " + *lost;
  return std::nullopt;
}

}  // namespace byre::simulation
