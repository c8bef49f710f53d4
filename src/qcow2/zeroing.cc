// SPDX-License-Identifier: Apache-2.0
#include "qcow2/zeroing.h"

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "qcow2/image_state.h"

namespace byre::qcow2 {

using layout::Geometry;
using layout::L2Entry;

namespace {

// Zero bytes are written so many at a time.
constexpr uint64_t kZeroBytesMax = 2 * kMiB;

}  // namespace

// The end of the disk's last cluster: what a cluster has behind the disk's end may be zeroed with
// it.
uint64_t Zeroing::disk_end() const {
  return align_up(state_->size, state_->geometry.cluster_size());
}

// Whether the backing file has nothing to say from `begin` on.
bool Zeroing::backing_reads_as_zeroes(GuestOffset begin) const {
  return !state_->backing || begin.value() >= state_->backing->size();
}

// Where the L1 table has no entry and there is no backing file, all is zero already, however much
// it is.
Task<GuestOffset> Zeroing::skip_unmapped(GuestOffset begin, GuestOffset end) {
  GuestOffset at = begin;
  while (at < end && backing_reads_as_zeroes(at)) {
    const TableCache::Slice slice = co_await state_->mapping.l2_slice(at);
    if (slice) break;
    const Run run = co_await state_->mapping.run_at(at, end - at);
    at += run.length;
  }
  co_return at;
}

// The next piece that must be worked on from `begin` on; empty where none is left.
Task<Zeroing::Piece> Zeroing::next_piece(GuestOffset begin, GuestOffset end) {
  const Geometry& geometry = state_->geometry;
  // Raw external data files hold the zeroes themselves.
  if (!state_->header().has_raw_external_data()) begin = co_await skip_unmapped(begin, end);
  const uint64_t max = writer_->piece_size_max() - geometry.offset_in_cluster(begin);
  const Piece piece{begin, begin + std::min(end - begin, max)};
  co_return piece;
}

Task<void> Zeroing::write_zeroes(GuestOffset offset, uint64_t length, WriteFlags flags) {
  const Geometry& geometry = state_->geometry;
  const GuestOffset end = offset + length;
  for (GuestOffset at = offset; at < end;) {
    const Piece piece = co_await next_piece(at, end);
    at = piece.end;
    if (piece.begin == piece.end) break;
    const uint64_t lock_begin = geometry.cluster_start(piece.begin).value();
    const uint64_t lock_end = align_up(piece.end.value(), geometry.cluster_size());
    const RangeLock::Guard guard = co_await state_->guest_lock.acquire(
        lock_begin, lock_end - lock_begin, RangeLock::Mode::kExclusive);
    co_await zero_piece(piece.begin, piece.end, flags);
  }
}

Task<void> Zeroing::clear_locked(GuestOffset offset, uint64_t length) {
  const GuestOffset end = offset + length;
  for (GuestOffset at = offset; at < end;) {
    const Piece piece = co_await next_piece(at, end);
    at = piece.end;
    if (piece.begin == piece.end) break;
    co_await zero_piece(piece.begin, piece.end, WriteFlags::kMayUnmap);
  }
}

Task<void> Zeroing::zero_piece(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  if (state_->header().has_raw_external_data()) {
    co_await zero_data_file(begin, end, flags);
    co_return;
  }
  if (state_->geometry.version() < 3) {
    co_await zero_without_flag(begin, end, flags);
    co_return;
  }
  // A subcluster is zeroed whole where the rest of it reads as zeroes, too.
  const uint64_t unit = state_->geometry.subcluster_size();
  GuestOffset inner_begin(align_up(begin.value(), unit));
  GuestOffset inner_end(align_down(end.value(), unit));
  const GuestOffset outer_begin(align_down(begin.value(), unit));
  const GuestOffset outer_end(align_up(end.value(), unit));
  bool head_is_zero = outer_begin == begin;
  if (!head_is_zero) head_is_zero = co_await reads_as_zeroes(outer_begin, begin);
  bool tail_is_zero = outer_end == end || end.value() >= state_->size;
  if (!tail_is_zero) tail_is_zero = co_await reads_as_zeroes(end, outer_end);
  if (inner_begin > inner_end) {
    // Inside one subcluster.
    if (head_is_zero && tail_is_zero) {
      co_await zero_subclusters(outer_begin, outer_end, flags);
    } else {
      co_await write_zero_bytes(begin, end, flags);
    }
    co_return;
  }
  if (head_is_zero) inner_begin = outer_begin;
  if (tail_is_zero) inner_end = outer_end;
  if (begin < inner_begin) co_await write_zero_bytes(begin, inner_begin, flags);
  if (inner_begin < inner_end) co_await zero_subclusters(inner_begin, inner_end, flags);
  if (inner_end < end) co_await write_zero_bytes(inner_end, end, flags);
}

// The entry with `count` subclusters from `first` on zero. Without extended L2 entries that is the
// cluster.
L2Entry Zeroing::zeroed(const L2Entry& old, uint32_t first, uint32_t count, bool may_unmap) const {
  const Geometry& geometry = state_->geometry;
  const bool is_whole = count == geometry.subclusters_per_cluster();
  const bool has_cluster = !old.is_compressed() && old.has_offset(geometry);
  if (is_whole && (may_unmap || !has_cluster)) return L2Entry::zero_plain(geometry);
  if (is_whole) return L2Entry::zero_allocated(old.offset(), old.copied(), geometry);
  return old.with_subclusters_zero(first, count);
}

Task<void> Zeroing::zero_subclusters(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  const Geometry& geometry = state_->geometry;
  const uint32_t per_cluster = geometry.subclusters_per_cluster();
  const bool may_unmap = has_flag(flags, WriteFlags::kMayUnmap);
  // Of a compressed cluster no part can be zero by itself.
  for (GuestOffset at = begin; at < end;) {
    const Run run = co_await state_->mapping.run_at(at, end - at);
    const bool is_part =
        geometry.offset_in_cluster(at) != 0 || run.length < geometry.cluster_size();
    if (run.kind == RunKind::kCompressed && is_part) {
      co_await write_zero_bytes(at, at + run.length, flags);
    }
    at += run.length;
  }
  const GuestOffset start = geometry.cluster_start(begin);
  const uint64_t count = geometry.clusters_for(end - start);
  const Linker::Change change = [&](uint64_t index, const L2Entry& old) {
    const GuestOffset cluster = start + (index << geometry.cluster_bits());
    const GuestOffset cluster_end = cluster + geometry.cluster_size();
    const uint32_t first = begin > cluster ? geometry.subcluster_index(begin) : 0;
    const uint32_t last = end < cluster_end ? geometry.subcluster_index(end) : per_cluster;
    if (last - first < per_cluster && old.is_compressed()) return old;
    return zeroed(old, first, last - first, may_unmap);
  };
  co_await linker_->change(start, count, change);
}

// Version 2: what reads as zeroes stays; clusters that may go do, unless the backing file would
// show; the rest gets zero bytes.
Task<void> Zeroing::zero_without_flag(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  const Geometry& geometry = state_->geometry;
  const uint64_t cluster_size = geometry.cluster_size();
  for (GuestOffset at = begin; at < end;) {
    const GuestOffset cluster = geometry.cluster_start(at);
    const Run run = co_await state_->mapping.run_at(at, end - at);
    if (run.kind == RunKind::kUnallocated && backing_reads_as_zeroes(at)) {
      at += run.length;
      continue;
    }
    const GuestOffset cluster_end = std::min(end, cluster + cluster_size);
    const bool is_whole = at == cluster && (cluster_end == cluster + cluster_size ||
                                            cluster_end.value() >= state_->size);
    if (is_whole && has_flag(flags, WriteFlags::kMayUnmap) && backing_reads_as_zeroes(cluster)) {
      const Linker::Change change = [](uint64_t, const L2Entry&) { return L2Entry(); };
      co_await linker_->change(cluster, 1, change);
    } else {
      co_await write_zero_bytes(at, cluster_end, flags);
    }
    at = cluster_end;
  }
}

// The data file must read as the guest's disk without the tables, so it gets the zeroes; entries
// that are there already say where.
Task<void> Zeroing::zero_data_file(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  co_await state_->data_device().write_zeroes(begin.value(), end - begin, flags);
}

Task<void> Zeroing::write_zero_bytes(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  if (has_flag(flags, WriteFlags::kNoFallback)) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, errno_text(ENOTSUP),
                "only zero bytes could be written there");
  }
  const Buffer zeroes = Buffer::zeroed(std::min(end - begin, kZeroBytesMax));
  for (GuestOffset at = begin; at < end;) {
    const uint64_t length = std::min<uint64_t>(end - at, zeroes.size());
    const IoVector from(zeroes.bytes(0, length));
    co_await writer_->write_locked(at, from);
    at += length;
  }
}

Task<bool> Zeroing::reads_as_zeroes(GuestOffset begin, GuestOffset end) {
  for (GuestOffset at = begin; at < end;) {
    const Run run = co_await state_->mapping.run_at(at, end - at);
    const bool is_zero = run.kind == RunKind::kZeroPlain || run.kind == RunKind::kZeroAllocated ||
                         (run.kind == RunKind::kUnallocated && backing_reads_as_zeroes(at));
    if (!is_zero) co_return false;
    at += run.length;
  }
  co_return true;
}

L2Entry Zeroing::discarded(const L2Entry& old) const {
  const Geometry& geometry = state_->geometry;
  if (!old.is_compressed() && !old.has_offset(geometry)) return old;
  return geometry.version() >= 3 ? L2Entry::zero_plain(geometry) : L2Entry();
}

Task<void> Zeroing::discard(GuestOffset offset, uint64_t length) {
  const Geometry& geometry = state_->geometry;
  const uint64_t cluster_size = geometry.cluster_size();
  GuestOffset at(align_up(offset.value(), cluster_size));
  const uint64_t wanted_end = offset.value() + length;
  const GuestOffset end(wanted_end >= state_->size ? disk_end()
                                                   : align_down(wanted_end, cluster_size));
  while (at < end) {
    // What no table maps has nothing to give back, whatever the backing file says.
    const TableCache::Slice slice = co_await state_->mapping.l2_slice(at);
    if (!slice) {
      const Run run = co_await state_->mapping.run_at(at, end - at);
      at += run.length;
      continue;
    }
    // Of one L2 table, so that no table is made for what has none.
    const uint64_t table_bytes = geometry.l2_coverage();
    const GuestOffset table_end(align_down(at.value(), table_bytes) + table_bytes);
    const GuestOffset piece_end = std::min({end, table_end, at + writer_->piece_size_max()});
    const RangeLock::Guard guard = co_await state_->guest_lock.acquire(at.value(), piece_end - at,
                                                                       RangeLock::Mode::kExclusive);
    if (state_->has_data_file()) {
      const uint64_t in_file_end = std::min(piece_end.value(), state_->data_device().size());
      if (at.value() < in_file_end) {
        co_await state_->data_device().discard(at.value(), in_file_end - at.value());
      }
    }
    // Entries of a raw data file stay; in version 2 the backing file would show.
    const bool keeps_entries = state_->header().has_raw_external_data() ||
                               (geometry.version() < 3 && !backing_reads_as_zeroes(at));
    if (!keeps_entries) {
      const Linker::Change change = [this](uint64_t, const L2Entry& old) { return discarded(old); };
      co_await linker_->change(at, geometry.clusters_for(piece_end - at), change);
    }
    at = piece_end;
  }
}

}  // namespace byre::qcow2
