// SPDX-License-Identifier: Apache-2.0
#include "simulation/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/checked.h"
#include "base/units.h"

namespace byre::simulation {

namespace {

// A weighted choice.
uint32_t pick_cluster_bits(Random& random) {
  struct Choice {
    uint32_t bits;
    uint32_t weight;
  };
  constexpr Choice kChoices[] = {{9, 40}, {10, 18}, {11, 6}, {12, 18}, {13, 4},
                                 {14, 4}, {15, 2},  {16, 6}, {18, 1},  {21, 1}};
  uint32_t lot = random() % 100;
  for (const Choice& choice : kChoices) {
    if (lot < choice.weight) return choice.bits;
    lot -= choice.weight;
  }
  return 9;
}

void pick_size(Plan* plan, Random& random) {
  const uint64_t cluster_size = plan->create.cluster_size;
  // From a few clusters, all of them contended, up to several L2 tables.
  const uint64_t clusters_max = std::clamp<uint64_t>(512 * kKiB / cluster_size, 3, 400);
  const uint64_t clusters = 2 + random() % clusters_max;
  plan->create.size = clusters * cluster_size;
  if (one_in(random, 3)) plan->create.size -= random() % (cluster_size / kSectorSize) * kSectorSize;
}

void pick_features(Plan* plan, Random& random) {
  qcow2::CreateOptions& create = plan->create;
  if (one_in(random, 6)) create.version = 2;
  if (create.version == 3) {
    // Wide refcounts in small clusters need many refcount blocks.
    create.refcount_bits = one_in(random, 4) ? 64 : uint64_t{1} << (random() % 7);
    if (create.cluster_size >= 16384) create.extended_l2 = !one_in(random, 3);
    create.lazy_refcounts = one_in(random, 8);
    if (one_in(random, 6)) {
      create.data_filename = "data";
      create.data_file_raw = one_in(random, 2);
      // Without entries the guest's view and the raw file could differ after a crash.
      if (create.data_file_raw) create.preallocation = Preallocation::kMetadata;
    }
    if (one_in(random, 4)) create.compression_type = CompressionType::kZstd;
  }
  if (one_in(random, 3) && !create.data_file_raw) {
    plan->backing_size = align_down(random() % (create.size + create.size / 4), kSectorSize);
    create.backing_filename = "backing";
    create.backing_format = "raw";
  }
}

// Fills the disk so far that the refcount table, which begins as one cluster, soon has to grow.
void pick_growing_refcount_table(Plan* plan, Random& random) {
  qcow2::CreateOptions& create = plan->create;
  create.version = 3;
  create.cluster_size = 512;
  create.refcount_bits = 64;
  create.extended_l2 = false;
  create.data_filename.reset();
  create.data_file_raw = false;
  create.preallocation = Preallocation::kOff;
  create.size = 2304 * kKiB;
  // Its only cluster counts 4096 clusters. This much data, with its tables, leaves about ten of
  // them.
  plan->filled = 1978 * kKiB - random() % 6 * kKiB;
  plan->hot_begin = plan->filled;
  plan->hot_size = 96 * kKiB;
  plan->backing_size.reset();
  create.backing_filename.reset();
  create.backing_format.reset();
}

// A disk of fixed size, with space for everything that a history may need at once.
void fix_file_size(Plan* plan) {
  const uint64_t cluster_size = plan->create.cluster_size;
  plan->file_grows = false;
  plan->file_size =
      align_up(plan->create.size * 2 + plan->filled + 64 * cluster_size + 64 * kKiB, cluster_size);
}

// Flushes fail and little else does, while small caches evict tables and free clusters have old
// data: a table that is written after the failure is then noticed. Flushes take long, so that much
// is in flight meanwhile, including other flushes.
void pick_failing_flushes(Plan* plan, Random& random) {
  plan->error_odds = 16;
  plan->flush_error_odds = 65536 / (3 + random() % 6);
  fix_file_size(plan);
  plan->cache_size = 2 * plan->create.cluster_size;
  plan->depth = 4 + random() % 5;
  plan->flush_waits = 1 + random() % 12;
  plan->loses_one_of_two_flushes = one_in(random, 2);
  if (plan->loses_one_of_two_flushes) plan->flush_error_odds = 65536;
  plan->sessions = 12;
  plan->requests = 240;
}

}  // namespace

Plan make_plan(uint64_t seed) {
  Random random(seed * 0x9e3779b97f4a7c15u + 1);
  Plan plan;
  // Extended L2 entries need clusters of 16 KiB or more: give them a share.
  plan.create.cluster_size = uint64_t{1} << (one_in(random, 8) ? 14 : pick_cluster_bits(random));
  const bool is_full_at_once = one_in(random, 8);
  // Tables that share no chunk of the disk with anything else.
  if (is_full_at_once) plan.create.cluster_size = storage::SparseBytes::kChunkSize;
  pick_size(&plan, random);
  pick_features(&plan, random);
  plan.hot_size = (1 + random() % 6) * plan.create.cluster_size;
  if (one_in(random, 2)) plan.hot_begin = random() % plan.create.size;
  if (one_in(random, 8)) pick_growing_refcount_table(&plan, random);
  const uint64_t cluster_size = plan.create.cluster_size;
  if (one_in(random, 3)) fix_file_size(&plan);
  plan.takes_snapshots =
      !plan.create.data_filename && plan.create.refcount_bits > 1 && one_in(random, 4);
  plan.is_repaired = !plan.create.data_filename && one_in(random, 4);
  plan.data_is_strangers = one_in(random, 2);
  if (one_in(random, 3)) plan.discards = faults::SimulatedDisk::Discards::kKeep;
  plan.discards_freed = one_in(random, 3);
  plan.keeps_discarded = plan.create.version == 3 && one_in(random, 8);
  if (one_in(random, 2)) plan.cache_size = cluster_size * (1 + random() % 8);
  if (plan.filled == 0 && one_in(random, 3)) {
    plan.filled = random() % (plan.create.size + 1) & ~(kSectorSize - 1);
  }
  plan.depth = one_in(random, 4) ? 1 : 2 + random() % 7;
  plan.requests = 40 + random() % 200;
  plan.sessions = 1 + random() % 8;
  if (one_in(random, 4)) plan.error_odds = 65536 / (20 + random() % 400);
  // After a failed flush an image accepts no more writes: often in some seeds, rarely in the
  // others.
  plan.flush_error_odds = one_in(random, 2) ? plan.error_odds * 4 : plan.error_odds / 4;
  if (one_in(random, 3)) plan.write_waits = 2 + random() % 6;
  if (one_in(random, 6)) pick_failing_flushes(&plan, random);
  plan.runs_full = plan.file_grows && (is_full_at_once || one_in(random, 6));
  // Each seed tries some dozens of power cuts; large disks take long to check.
  plan.cuts_per_moment = one_in(random, 4) ? 2 : 1;
  plan.moment_odds = 40 + random() % 48;
  if (plan.create.size > kMiB) plan.moment_odds += 8;
  plan.writes_through = one_in(random, 10);
  if (one_in(random, 8)) plan.memory_odds = uint64_t{20} << random() % 8;
  // Marks are lost if flushes fail.
  plan.has_bitmap = plan.create.version == 3 && !plan.create.data_filename &&
                    one_in(random, plan.loses_one_of_two_flushes ? 2 : 4);
  plan.has_size_max = plan.runs_full && one_in(random, 3);
  plan.is_full_at_once = plan.runs_full && is_full_at_once && !plan.has_size_max;
  if (plan.is_full_at_once) plan.filled = 0;
  if (!plan.file_grows && one_in(random, 2)) {
    plan.discards = faults::SimulatedDisk::Discards::kGarbage;
  }
  // A disk that fills up, so that free clusters must be found.
  if (!plan.file_grows && plan.filled == 0 && one_in(random, 4)) {
    plan.file_size = align_up(plan.create.size * 2 / 3 + 16 * cluster_size, cluster_size);
  } else if (!plan.file_grows && !plan.backing_size && one_in(random, 4)) {
    // Clusters that are allocated from the start, on a disk with old data.
    plan.create.preallocation = Preallocation::kMetadata;
  }
  plan.manages_snapshots = !plan.create.data_filename && one_in(random, 4);
  plan.amends = one_in(random, 4);
  // A raw data file keeps what the disk had.
  plan.empties = !plan.create.data_file_raw && one_in(random, 6);
  plan.shares = plan.manages_snapshots && one_in(random, 2);
  // The guest's view of a raw data file does not depend on anything else.
  plan.rebases = !plan.create.data_file_raw && one_in(random, 5);
  plan.commits = plan.backing_size && one_in(random, 3);
  plan.has_chain = plan.backing_size > 0 && one_in(random, 2) && (plan.rebases || plan.commits);
  if (plan.has_chain) plan.create.backing_format = "qcow2";
  return plan;
}

std::vector<std::string> Plan::features() const {
  std::vector<std::string> names;
  names.push_back(fmt::format("version {}", create.version));
  names.push_back(fmt::format("cluster size {}", create.cluster_size));
  names.push_back(fmt::format("refcount bits {}", create.refcount_bits));
  const auto add = [&](bool has, const char* name) {
    if (has) names.emplace_back(name);
  };
  add(create.extended_l2, "extended L2");
  add(create.lazy_refcounts, "lazy refcounts");
  add(create.data_filename && !create.data_file_raw, "data file");
  add(create.data_file_raw, "raw data file");
  add(takes_snapshots, "internal snapshots");
  add(manages_snapshots, "snapshots created, applied and deleted");
  add(shares, "clusters of snapshots shared");
  add(rebases, "rebases");
  add(commits, "commits");
  add(has_chain, "chains of three");
  add(amends, "properties amended");
  add(empties, "emptied");
  add(has_bitmap, "bitmap");
  add(discards_freed, "freed clusters discarded");
  add(keeps_discarded, "discard_no_unref");
  add(is_repaired, "repairs");
  add(backing_size.has_value(), "backing file");
  add(create.compression_type == CompressionType::kZstd, "zstd");
  add(create.size % create.cluster_size != 0, "size not a multiple of the cluster");
  add(!file_grows, "disk of fixed size");
  add(error_odds != 0, "errors");
  add(runs_full, has_size_max ? "files that cannot grow" : "full disks");
  add(writes_through, "writethrough");
  add(memory_odds != 0, "failing allocations");
  add(create.preallocation != Preallocation::kOff, "preallocation");
  add(discards == faults::SimulatedDisk::Discards::kGarbage, "discards that give anything");
  add(cache_size != 0, "small caches");
  add(depth > 1, "concurrent requests");
  return names;
}

std::string Plan::describe() const {
  return fmt::format("{}; {} bytes, {} at a time, {} requests in {} sessions",
                     fmt::join(features(), ", "), create.size, depth, requests, sessions);
}

}  // namespace byre::simulation
