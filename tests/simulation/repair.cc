// SPDX-License-Identifier: Apache-2.0
#include "simulation/repair.h"

#include <fmt/format.h>

#include "async/loop.h"
#include "qcow2/image/image_check.h"
#include "storage/memory_device.h"

namespace byre::simulation {

namespace {

using faults::SimulatedDisk;
using storage::MemoryDevice;

// The approximate number of moments of a repair that are tried.
constexpr uint64_t kLooks = 4;

// The device belongs to the image and is destroyed with it: `left` is filled from it before that.
template <class Device, class Left>
Task<qcow2::RepairResult> repair_on(std::unique_ptr<Device> file, Left* left,
                                    const FilesByName* below, Left (*leave)(const Device&)) {
  Device* const device = file.get();
  qcow2::OpenOptions options;
  options.for_check = true;
  options.writable = true;
  OpenFile open_file = copies_of(below);
  const std::unique_ptr<qcow2::Image> image =
      co_await open_image(std::move(file), nullptr, std::move(open_file), options);
  const qcow2::RepairOptions repair_options;
  const qcow2::RepairResult result = co_await qcow2::repair(*image, repair_options);
  co_await image->close();
  *left = leave(*device);
  co_return result;
}

// Repairs what a power cut left, and checks it.
std::optional<std::string> check_cut(const World& world, storage::SparseBytes cut, uint64_t seed) {
  Files files{storage::SparseBytes(), std::nullopt, world.below.files};
  const auto leave = [](const MemoryDevice& device) { return device.contents(); };
  using Leave = storage::SparseBytes (*)(const MemoryDevice&);
  try {
    sync_wait(repair_on(std::make_unique<MemoryDevice>(std::move(cut)), &files.file,
                        &world.below.files, static_cast<Leave>(leave)));
  } catch (const Error& error) {
    return fmt::format("it cannot be repaired: {} ({})", error.message(), error.hint());
  }
  const std::optional<std::string> unsound = check_soundness(files, false);
  if (unsound) return unsound;
  return check_crash(files, world.promise(), false, seed);
}

}  // namespace

std::optional<std::string> repair_image(World* world, uint64_t seed) {
  Random random(seed);
  SimulatedDisk::Options options;
  options.seed = random();
  options.filename = "file";
  options.grows = world->plan.file_grows;
  const storage::SparseBytes before = world->file->now();
  world->model->restart(read_guest({before, std::nullopt, world->below.files}));
  // The host may have had the time to make everything durable; or the writer was killed a moment
  // ago.
  faults::SimulatedCache cache = one_in(random, 2) ? faults::SimulatedCache(before) : *world->file;
  auto disk = std::make_unique<SimulatedDisk>(std::move(cache), options);
  SimulatedDisk* const file = disk.get();
  disk->set_trace(world->trace);
  std::optional<std::string> failure;
  bool has_written = false;
  disk->set_on_moment([&](SimulatedDisk::Moment moment, uint64_t) {
    // Until the repair has changed something, power cuts do not concern it.
    has_written |= moment == SimulatedDisk::Moment::kWritten;
    if (!has_written || failure || random() % kLooks != 0) return;
    ++world->counts.crashes;
    failure = check_cut(*world, file->cache().power_cut(random()), random());
  });
  Loop::Options loop_options;
  loop_options.seed = random();
  Loop loop(loop_options);
  faults::SimulatedCache left{storage::SparseBytes()};
  const auto leave = [](const SimulatedDisk& device) { return device.cache(); };
  using Leave = faults::SimulatedCache (*)(const SimulatedDisk&);
  world->tell("the image is repaired");
  try {
    loop.run(repair_on(std::move(disk), &left, &world->below.files, static_cast<Leave>(leave)));
  } catch (const Error& error) {
    return fmt::format("the repair fails: {} ({})", error.message(), error.hint());
  }
  if (failure) return "a power cut in a repair: " + *failure;
  // Everything that it wrote is durable.
  const Files files{has_written ? left.power_cut(random()) : left.now(), std::nullopt,
                    world->below.files};
  const std::optional<std::string> unsound = check_soundness(files, false);
  if (unsound) return "after a repair: " + *unsound;
  const std::optional<std::string> wrong = check_crash(files, world->promise(), true, random());
  if (wrong) return "after a repair: " + *wrong;
  world->model->restart(read_guest(files));
  world->file.emplace(files.file);
  world->leaks_allowed = false;
  return std::nullopt;
}

}  // namespace byre::simulation
