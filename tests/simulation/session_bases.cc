// SPDX-License-Identifier: Apache-2.0
// How a session gives its image another backing file, and copies the image into one below. The guest reads
// the same before, during and after. The image is closed afterwards, as by the commands.
#include <fmt/format.h>

#include "async/ready.h"
#include "jobs/commit.h"
#include "jobs/rebase_copy.h"
#include "open/open.h"
#include "simulation/base_files.h"
#include "simulation/session.h"

namespace byre::simulation {

using faults::MemoryFaults;

Files World::files() const {
  Files files{file->now(), std::nullopt, below.files};
  if (data) files.data = data->now();
  return files;
}

void World::set_below(const Files& files) {
  below = {base_of(files), files.below};
  model->set_backing(read_base(files));
  std::erase_if(snapshots, [&](const FrozenSnapshot& snapshot) {
    return !has_snapshot(files, snapshot.name);
  });
  for (FrozenSnapshot& snapshot : snapshots) {
    snapshot.bytes = read_snapshot(files, snapshot.name);
    snapshot.below = below;
  }
}

void Session::begin_rebase(const Request& request, ConstBytes guest) {
  const MemoryFaults::Pause pause;
  new_base_ = {};
  if (request.length == 0) return;
  const std::vector<uint8_t> contents =
      draw_base_contents(request.length, guest, world_->model->empty_disk(),
                         static_cast<uint32_t>(request.number), random_);
  const std::string name = fmt::format("backing {}", request.number);
  new_base_ = make_base(&world_->below.files, name, contents, one_in(random_, 2), random_);
}

Task<void> Session::rebase(Request request) {
  const std::unique_ptr<BlockDevice> base =
      co_await open_base(new_base_, copies_of(&world_->below.files));
  co_await jobs::copy_differences(image_.get(), base.get(), request.compresses, nullptr, nullptr);
  co_await image_->change_backing_file(new_base_.name, new_base_.format);
}

Task<void> Session::commit(Request request) {
  BlockDevice* base = image_->backing();
  uint32_t depth = 1;
  qcow2::Image* const middle = open::as_qcow2(base);
  if (request.length == 2 && middle != nullptr) {
    base = middle->backing();
    depth = 2;
  }
  const jobs::CommitJob job;
  co_await jobs::copy_into_base(image_.get(), base, depth, &job);
  if (request.length == 1) co_await image_->make_empty();
}

// Snapshots read as before with what they were made on, and from now on as with what there is now.
std::optional<std::string> Session::settle_below(const Files& files) {
  if (!changes_base_) return std::nullopt;
  for (const FrozenSnapshot& snapshot : world_->snapshots) {
    const std::optional<std::string> wrong = check_snapshot(files, snapshot);
    if (wrong) return "after another backing file: " + *wrong;
  }
  world_->set_below(files);
  return std::nullopt;
}

}  // namespace byre::simulation
