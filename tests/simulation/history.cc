// SPDX-License-Identifier: Apache-2.0
#include "simulation/history.h"

#include <fmt/format.h>

#include <algorithm>

#include "async/frame_pool.h"
#include "async/loop.h"
#include "simulation/base_files.h"
#include "simulation/closed_image.h"
#include "simulation/repair.h"
#include "storage/memory_device.h"

namespace byre::simulation {

namespace {

using storage::MemoryDevice;
using storage::SparseBytes;

SparseBytes filled(uint64_t size, Content content) {
  SparseBytes bytes(size);
  std::vector<uint8_t> part(64 * kKiB);
  for (uint64_t at = 0; at < size; at += part.size()) {
    const Bytes here = Bytes(part).first(std::min<uint64_t>(part.size(), size - at));
    fill_content(here, at, content);
    bytes.write(at, here);
  }
  return bytes;
}

void make_backing(World* world, Random& random) {
  const Plan& plan = world->plan;
  std::vector<uint8_t> contents(*plan.backing_size);
  fill_content(contents, 0, {kBackingGeneration, false});
  make_base(&world->below.files, *plan.create.backing_filename, contents, plan.has_chain, random);
}

// Creates the image, all of it durable.
void make_image(World* world, Random& random) {
  const Plan& plan = world->plan;
  if (plan.backing_size) make_backing(world, random);
  const Content strangers{kStrangerGeneration, false};
  MemoryDevice file(plan.file_grows ? SparseBytes() : filled(plan.file_size, strangers));
  std::optional<MemoryDevice> data;
  if (plan.create.data_filename) {
    // The contents of a raw data file are the guest's; it begins empty.
    const bool is_used = plan.data_is_strangers && !plan.create.data_file_raw;
    data.emplace(is_used ? filled(plan.create.size, strangers) : SparseBytes());
  }
  sync_wait(qcow2::create(file, data ? &*data : nullptr, plan.create));
  world->file.emplace(plan.file_grows ? with_holes(file.contents()) : file.contents());
  if (data) world->data.emplace(data->contents());
  world->model = std::make_unique<GuestModel>(plan.create.size, read_base(world->files()));
  world->set_below(world->files());
}

// Replaces the image by what another program made of it while it was closed, all of it durable;
// returns the guest's view.
std::vector<uint8_t> replace_image(World* world, SparseBytes made) {
  const Files files{std::move(made), std::nullopt, world->below.files};
  std::vector<uint8_t> bytes = read_guest(files);
  world->model->restart(bytes);
  world->file.emplace(files.file);
  world->leaks_allowed = false;
  return bytes;
}

uint64_t size_max_of(const World& world) {
  return world.plan.file_grows ? UINT64_MAX : world.plan.file_size;
}

void take_snapshot(World* world) {
  const std::string id = fmt::format("of session {}", world->next_request++);
  std::optional<SparseBytes> made = make_snapshot(world->file->now(), id, size_max_of(*world));
  if (!made) return;
  world->snapshots.push_back({id, replace_image(world, std::move(*made)), world->below});
  world->tell(fmt::format("snapshot '{}' is made", id));
}

void renew_bitmap(World* world) {
  std::optional<SparseBytes> made = make_bitmap(world->file->now(), size_max_of(*world));
  if (!made) return;
  world->of_bitmap = replace_image(world, std::move(*made));
  world->tell("a bitmap is made");
}

Session::End draw_end(Random& random, const Plan& plan) {
  if (plan.has_bitmap && one_in(random, 3)) return Session::End::kEarlyKill;
  const uint64_t lot = random() % 8;
  if (lot < 2) return Session::End::kClose;
  if (lot < 4) return Session::End::kKill;
  return Session::End::kPowerCut;
}

}  // namespace

Result run_history(uint64_t seed, std::function<void(const std::string&)> trace) {
  frame_pool::trim();  // allocations must not depend on earlier seeds
  World world;
  world.plan = make_plan(seed);
  world.trace = std::move(trace);
  world.is_raw_equal = world.plan.create.data_file_raw;
  world.tell(fmt::format("seed {}: {}", seed, world.plan.describe()));
  Result result;
  try {
    Random random(seed);
    make_image(&world, random);
    const uint32_t sessions = world.plan.sessions;
    for (uint32_t i = 0; i < sessions && !result.failure; ++i) {
      const Session::End end = draw_end(random, world.plan);
      world.tell(fmt::format("session {}", i + 1));
      if (world.plan.is_repaired && i > 0 && one_in(random, 2)) {
        result.failure = repair_image(&world, random());
        if (result.failure) break;
      }
      const bool is_whole = !is_dirty(world.file->now());
      if (world.plan.takes_snapshots && i > 0 && is_whole && one_in(random, 2)) {
        take_snapshot(&world);
      }
      if (world.plan.has_bitmap && is_whole && one_in(random, 3)) renew_bitmap(&world);
      const uint32_t requests = world.plan.requests / sessions + 1;
      result.failure =
          Session(&world, random(), requests, end, Session::Guest::kReadsAndWrites).run();
      // Data that a killed writer left unflushed, and that was read and flushed later, stays.
      const bool is_killed = end == Session::End::kKill || end == Session::End::kEarlyKill;
      if (result.failure || !is_killed || one_in(random, 2)) continue;
      world.tell("a session that only reads");
      constexpr uint32_t kRequests = 8;
      result.failure =
          Session(&world, random(), kRequests, Session::End::kClose, Session::Guest::kOnlyReads)
              .run();
    }
  } catch (const Error& error) {
    result.failure = fmt::format("{} ({})", error.message(), error.hint());
  }
  result.plan = world.plan;
  result.counts = world.counts;
  return result;
}

}  // namespace byre::simulation
