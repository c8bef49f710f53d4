// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace byre::qcow2 {
namespace {

// While something cannot be followed, clusters without a reference may belong to it: then only
// clusters past all that the refcounts call in use are free.
uint64_t first_place(CheckPass* pass, NewPlaces::Where where) {
  if (where == NewPlaces::Where::kPastEnd) return pass->counts().cluster_count();
  if (!pass->references().is_incomplete()) return 0;
  return pass->geometry().clusters_for(pass->result().image_end_offset);
}

}  // namespace

NewPlaces::NewPlaces(CheckPass* pass, Where where)
    : pass_(pass),
      geometry_(pass->geometry()),
      where_(where),
      inside_end_(pass->file().size() >> geometry_.cluster_bits()),
      next_(first_place(pass, where)) {}

void NewPlaces::avoid(const ReferenceCounts& counts) {
  also_counted_ = &counts;
  if (where_ == Where::kPastEnd) next_ = std::max(next_, counts.cluster_count());
}

uint64_t NewPlaces::next_past_end(uint64_t clusters) const {
  uint64_t first = next_;
  for (;;) {
    const uint64_t end = pass_->references().outside().last_end_before((first + clusters)
                                                                       << geometry_.cluster_bits());
    if (end <= first << geometry_.cluster_bits()) return first;
    first = geometry_.clusters_for(end);
  }
}

bool NewPlaces::is_free(uint64_t cluster) const {
  if (pass_->counts().count(cluster) != 0 || taken_.contains(cluster)) return false;
  return also_counted_ == nullptr || also_counted_->count(cluster) == 0;
}

// Returns inside_end_ if there is no such run.
uint64_t NewPlaces::find_inside(uint64_t clusters, uint64_t from) const {
  uint64_t count = 0;
  for (uint64_t cluster = from; cluster < inside_end_; ++cluster) {
    count = is_free(cluster) ? count + 1 : 0;
    if (count == clusters) return cluster + 1 - clusters;
  }
  return inside_end_;
}

Error NewPlaces::no_room(uint64_t clusters, uint64_t missing) const {
  const uint64_t missing_size = missing << geometry_.cluster_bits();
  return Error(ErrorKind::kNoSpace, ENOSPC,
               ErrorData{.code = "qcow2-no-room-for-tables",
                         .value = missing_size,
                         .file = pass_->file().device().filename()},
               fmt::format("{} new clusters are needed, but there is no space for {} of them; {} "
                           "bytes are missing",
                           clusters, missing, missing_size));
}

Error NewPlaces::no_room_in_a_row(uint64_t clusters) const {
  uint64_t longest = 0;
  uint64_t count = 0;
  for (uint64_t cluster = next_; cluster < inside_end_; ++cluster) {
    count = is_free(cluster) ? count + 1 : 0;
    longest = std::max(longest, count);
  }
  return no_room(clusters, clusters - longest);
}

uint64_t NewPlaces::take(uint64_t clusters) {
  if (where_ == Where::kInside) {
    const uint64_t first = find_inside(clusters, next_);
    if (first == inside_end_) throw no_room_in_a_row(clusters);
    taken_.add(first, first + clusters);
    return first;
  }
  const uint64_t first = next_past_end(clusters);
  if (first + clusters > layout::limits::kHostOffsetEnd >> geometry_.cluster_bits()) {
    throw Error(ErrorKind::kNoSpace, EFBIG, ErrorData{.code = "qcow2-no-offsets-for-tables"},
                fmt::format("'{}' has no space for {} new clusters",
                            pass_->file().device().filename(), clusters));
  }
  next_ = first + clusters;
  return first;
}

// Chooses clusters for the table and the blocks of the plan; false if there are not enough for the
// blocks.
bool NewPlaces::choose_inside(RefcountPlan* plan) const {
  plan->first = find_inside(plan->table_clusters, next_);
  if (plan->first == inside_end_) throw no_room_in_a_row(plan->table_clusters);
  plan->places.clear();
  for (uint64_t cluster = next_; plan->places.size() < plan->blocks.size(); ++cluster) {
    if (cluster == plan->first) cluster += plan->table_clusters;
    cluster = find_inside(1, cluster);
    if (cluster == plan->first) cluster = find_inside(1, cluster + plan->table_clusters);
    if (cluster == inside_end_) return false;
    plan->places.push_back(cluster);
  }
  return true;
}

RefcountPlan NewPlaces::plan_inside(const ReferenceCounts& counts) const {
  RefcountPlan plan = plan_refcounts(counts, geometry_, std::vector<uint64_t>());
  for (;;) {
    const bool has_room = choose_inside(&plan);
    if (!has_room) {
      throw no_room(plan.cluster_count(), plan.blocks.size() - plan.places.size());
    }
    std::vector<uint64_t> own = plan.places;
    for (uint64_t i = 0; i < plan.table_clusters; ++i) own.push_back(plan.first + i);
    RefcountPlan wider = plan_refcounts(counts, geometry_, own);
    if (wider.blocks == plan.blocks && wider.table_clusters == plan.table_clusters) return plan;
    // Blocks that an earlier round needed stay in the plan, so that the loop terminates.
    std::vector<uint64_t> blocks;
    std::ranges::set_union(plan.blocks, wider.blocks, std::back_inserter(blocks));
    if (blocks == plan.blocks && wider.table_clusters <= plan.table_clusters) return plan;
    plan.blocks = std::move(blocks);
    plan.table_clusters = std::max(plan.table_clusters, wider.table_clusters);
  }
}

RefcountPlan NewPlaces::take_for_refcounts(const ReferenceCounts& counts) {
  if (where_ == Where::kInside) {
    RefcountPlan plan = plan_inside(counts);
    taken_.add(plan.first, plan.first + plan.table_clusters);
    for (const uint64_t place : plan.places) taken_.add(place, place + 1);
    return plan;
  }
  // The position depends on the size and the size on the position; both only grow.
  RefcountPlan plan = plan_refcounts(counts, geometry_, next_);
  for (;;) {
    const uint64_t first = next_past_end(plan.cluster_count());
    if (first == plan.first) break;
    plan = plan_refcounts(counts, geometry_, first);
  }
  next_ = plan.first;
  take(plan.cluster_count());
  return plan;
}

}  // namespace byre::qcow2
