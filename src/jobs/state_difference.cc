// SPDX-License-Identifier: Apache-2.0
#include "jobs/state_difference.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/units.h"

namespace byre::jobs {
namespace {

// At most about this many extents are returned; the caller asks again.
constexpr size_t kExtentsMax = 1024;
// What is compared at once, whatever is asked for: a multiple of any cluster size.
constexpr uint64_t kComparedMax = kGiB;
// A cluster is looked for in as many different L2 tables of older snapshots, the newest first.
constexpr size_t kTablesMax = 256;

}  // namespace

StateDifference::StateDifference(const SourceStates* states, size_t index, Rules rules)
    : states_(states), index_(index), rules_(rules), now_(states->at(index)) {}

uint64_t StateDifference::whole_clusters(uint64_t offset, uint64_t length) const {
  const bool is_rest = offset + length == size();
  return is_rest ? length : align_down(length, rules_.cluster_size);
}

// Whether the other state has all clusters of the range. A cluster that the end of a disk is in
// also has bytes past it.
bool StateDifference::is_whole(size_t other, uint64_t cluster, uint64_t length) const {
  const uint64_t end = cluster + length;
  return length > 0 && (end % rules_.cluster_size == 0 || states_->at(other)->size() == end);
}

Task<StateDifference::Comparison> StateDifference::compare(size_t other, uint64_t offset,
                                                           uint64_t length) {
  const qcow2::Image& image = *states_->at(other);
  Comparison result;
  if (offset >= image.size()) {
    result.different = std::min(length, size() - offset);
    co_return result;
  }
  const uint64_t end = std::min({size(), image.size(), offset + length});
  uint64_t at = offset;
  while (at < end) {
    const qcow2::Image::Sharing sharing = co_await now_->sharing_with(image, at, end - at);
    if (!sharing.is_same) {
      if (at == offset) result.different = sharing.length;
      break;
    }
    at += sharing.length;
  }
  result.same = at - offset;
  co_return result;
}

// The newest snapshot that has the cluster, and how many more. Snapshots with the same L2 table need
// not be compared again.
Task<std::optional<StateDifference::Piece>> StateDifference::shared_with_snapshot(
    uint64_t cluster, uint64_t length_max, uint64_t* different) {
  std::vector<uint64_t> compared;
  const bool is_in_one_table = now_->geometry().l2_coverage() >= rules_.cluster_size;
  const auto is_known = [&](size_t other) {
    const qcow2::Image& image = *states_->at(other);
    if (!is_in_one_table || image.size() != size()) return false;
    const uint64_t table = image.l2_table_at(cluster);
    if (std::ranges::find(compared, table) != compared.end()) return true;
    compared.push_back(table);
    return false;
  };
  is_known(index_ - 1);
  size_t left = kTablesMax;
  for (size_t other = index_ - 1; other-- > 0 && left > 0;) {
    if (cluster >= states_->at(other)->size() || is_known(other)) continue;
    --left;
    const Comparison found = co_await compare(other, cluster, length_max);
    const uint64_t length = whole_clusters(cluster, found.same);
    if (is_whole(other, cluster, length)) {
      co_return Piece{.length = length, .kind = Piece::Kind::kShared, .snapshot = other};
    }
    const uint64_t limit = found.same > 0 ? rules_.cluster_size : found.different;
    *different = std::min(*different, limit);
  }
  co_return std::nullopt;
}

// How many bytes from `offset` on the target is to find in its backing file.
Task<uint64_t> StateDifference::unallocated_length(uint64_t offset, uint64_t length_max) {
  const uint64_t end = std::min({size(), rules_.source_backing_size, offset + length_max});
  uint64_t at = offset;
  if (!rules_.top_layer_only) co_return 0;
  while (at < end) {
    const std::vector<Extent> extents = co_await now_->extents(at, end - at, ExtentScope::kLayer);
    for (const Extent& extent : extents) {
      if (extent.present) co_return at - offset;
      at = extent.offset + extent.length;
    }
  }
  co_return std::max(at, offset) - offset;
}

Task<StateDifference::Piece> StateDifference::piece_of_cluster(uint64_t cluster) {
  const uint64_t cluster_end =
      std::min(size(), align_down(cluster, rules_.cluster_size) + rules_.cluster_size);
  const Comparison before = co_await compare(index_ - 1, cluster, kComparedMax);
  Piece piece{.length = std::min(before.same, cluster_end - cluster), .kind = Piece::Kind::kKept};
  uint64_t different = before.different;
  if (cluster % rules_.cluster_size == 0) {
    const uint64_t same = whole_clusters(cluster, before.same);
    if (same > 0) co_return Piece{.length = same, .kind = Piece::Kind::kKept};
    // What follows may be kept.
    const uint64_t length_max =
        align_up(std::max(before.different, uint64_t{1}), rules_.cluster_size);
    const std::optional<Piece> shared =
        co_await shared_with_snapshot(cluster, length_max, &different);
    if (shared) co_return *shared;
    const uint64_t wanted = co_await unallocated_length(cluster, length_max);
    const uint64_t length = whole_clusters(cluster, wanted);
    if (length > 0) co_return Piece{.length = length, .kind = Piece::Kind::kUnallocated};
  }
  if (piece.length > 0) co_return piece;
  // What follows in other clusters may be shared, unless it is known to differ everywhere.
  piece.kind = Piece::Kind::kCopied;
  const uint64_t whole = whole_clusters(cluster, different);
  const bool is_several = cluster % rules_.cluster_size == 0 && !rules_.top_layer_only && whole > 0;
  piece.length = is_several ? whole : std::min(different, cluster_end - cluster);
  co_return piece;
}

Task<StateDifference::Piece> StateDifference::at(uint64_t offset) {
  uint64_t begin = align_down(offset, rules_.cluster_size);
  Piece piece = co_await piece_of_cluster(begin);
  while (begin + piece.length <= offset) {
    begin += piece.length;
    piece = co_await piece_of_cluster(begin);
  }
  piece.length -= offset - begin;
  co_return piece;
}

Task<void> StateDifference::do_read(uint64_t offset, ReadBuffers to) {
  return now_->read(offset, std::move(to));
}

// A new part of the target's disk is zero already.
Task<void> StateDifference::append_copied(std::vector<Extent>* extents, uint64_t offset,
                                          uint64_t length) {
  const uint64_t size_before = states_->at(index_ - 1)->size();
  const uint64_t end = offset + length;
  for (uint64_t at = offset; at < end;) {
    const uint64_t limit = at < size_before ? std::min(end, size_before) : end;
    const std::vector<Extent> found = co_await now_->extents(at, limit - at, ExtentScope::kChain);
    for (const Extent& extent : found) {
      const bool is_zero = extent.zero || !extent.present;
      const bool is_new = extent.offset >= size_before && !rules_.target_has_backing;
      extents->push_back({.offset = extent.offset,
                          .length = extent.length,
                          .present = !(is_zero && is_new),
                          .data = !is_zero,
                          .zero = is_zero});
    }
    at = found.back().offset + found.back().length;
  }
}

Task<std::vector<Extent>> StateDifference::do_extents(uint64_t offset, uint64_t length,
                                                      ExtentScope) {
  std::vector<Extent> extents;
  const uint64_t end = offset + length;
  for (uint64_t from = offset; from < end && extents.size() < kExtentsMax;) {
    const Piece piece = co_await at(from);
    const uint64_t taken = std::min(piece.length, end - from);
    if (piece.kind == Piece::Kind::kCopied) {
      co_await append_copied(&extents, from, taken);
    } else if (!extents.empty() && !extents.back().present) {
      extents.back().length += taken;
    } else {
      extents.push_back({.offset = from, .length = taken});
    }
    from += taken;
  }
  co_return extents;
}

}  // namespace byre::jobs
