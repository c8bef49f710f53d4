// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/zeroing.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "qcow2/read/mapping.h"
#include "qcow2/space/allocator.h"

namespace byre::qcow2 {

using layout::Geometry;
using layout::L2Entry;

namespace {

// The most zero bytes in one write.
constexpr uint64_t kZeroBytesMax = 2 * kMiB;

}  // namespace

// The end of the disk's last cluster: its part past the end of the disk may be zeroed as well.
uint64_t Zeroing::disk_end() const {
  return align_up(context_->disk_size(), context_->geometry.cluster_size());
}

// Whether the backing file ends at or before `begin`.
bool Zeroing::is_past_backing(GuestOffset begin) const {
  return !context_->backing() || begin.value() >= context_->backing()->size();
}

// Whether the backing chain is known to have zeroes there, without reading its data.
Task<bool> Zeroing::is_zero_in_backing(GuestOffset begin, GuestOffset end) {
  if (is_past_backing(begin)) co_return true;
  const uint64_t last = std::min(end.value(), context_->backing()->size());
  for (uint64_t at = begin.value(); at < last;) {
    const std::vector<Extent> extents =
        co_await context_->backing()->extents(at, last - at, ExtentScope::kChain);
    for (const Extent& extent : extents) {
      if (!extent.zero && extent.present) co_return false;
      at = extent.offset + extent.length;
    }
  }
  co_return true;
}

// Version 2 has no zero clusters. Where nothing is mapped and there is no backing file, there is
// nothing to do; skips such ranges, however large.
Task<GuestOffset> Zeroing::skip_unmapped(GuestOffset begin, GuestOffset end) {
  GuestOffset at = begin;
  while (at < end) {
    const TableCache::Slice slice = co_await mapping_->l2_slice(at);
    if (slice) break;
    const GuestRun run = co_await mapping_->run_at(at, end - at);
    at += run.length;
  }
  co_return at;
}

// The next piece from `begin` on that needs work; empty if there is none.
Task<Zeroing::Piece> Zeroing::next_piece(GuestOffset begin, GuestOffset end) {
  const Geometry& geometry = context_->geometry;
  const bool stays_unmapped = geometry.version() < 3 && !context_->backing();
  if (stays_unmapped) begin = co_await skip_unmapped(begin, end);
  const uint64_t max = writer_->piece_size_max() - geometry.offset_in_cluster(begin);
  const Piece piece{begin, begin + std::min(end - begin, max)};
  co_return piece;
}

Task<void> Zeroing::write_zeroes(GuestOffset offset, uint64_t length, WriteFlags flags) {
  const Geometry& geometry = context_->geometry;
  const GuestOffset end = offset + length;
  for (GuestOffset at = offset; at < end;) {
    const Piece piece = co_await next_piece(at, end);
    at = piece.end;
    if (piece.begin == piece.end) break;
    const uint64_t lock_begin = geometry.cluster_start(piece.begin).value();
    const uint64_t lock_end = align_up(piece.end.value(), geometry.cluster_size());
    const RangeLock::Guard guard = co_await context_->guest_lock.acquire(
        lock_begin, lock_end - lock_begin, RangeLock::Mode::kExclusive);
    co_await zero_piece(piece.begin, piece.end, flags);
  }
}

Task<void> Zeroing::clear_locked(GuestOffset offset, uint64_t length) {
  const GuestOffset end = offset + length;
  const bool is_raw = context_->header().has_raw_external_data();
  for (GuestOffset at = offset; at < end;) {
    const GuestRun run = co_await mapping_->run_at(at, end - at);
    // An unallocated entry stays so.
    if (!is_raw && run.kind == RunKind::kUnallocated && is_past_backing(at)) {
      at = at + run.length;
      continue;
    }
    Piece piece = co_await next_piece(at, end);
    if (piece.begin == piece.end) break;
    // If only zero bytes can hide the backing file, do not write more of them than it has.
    const bool takes_bytes = context_->geometry.version() < 3 && !is_past_backing(at);
    if (takes_bytes && run.kind == RunKind::kUnallocated) {
      piece.end =
          std::min(piece.end, GuestOffset(align_up(context_->backing()->size(), kSectorSize)));
    }
    at = piece.end;
    co_await zero_piece(piece.begin, piece.end, WriteFlags::kMayUnmap);
  }
}

// The subclusters that [begin, end) touches, and whether what else is in the first and in the last
// one reads as zeroes as well: such a subcluster is zeroed as a whole.
Task<Zeroing::Outer> Zeroing::outer_subclusters(GuestOffset begin, GuestOffset end) {
  const uint64_t unit = context_->geometry.subcluster_size();
  Outer outer{.begin = GuestOffset(align_down(begin.value(), unit)),
              .end = GuestOffset(align_up(end.value(), unit))};
  outer.head_is_zero = outer.begin == begin;
  if (!outer.head_is_zero) outer.head_is_zero = co_await reads_as_zeroes(outer.begin, begin);
  outer.tail_is_zero = outer.end == end || end.value() >= context_->disk_size();
  if (!outer.tail_is_zero) outer.tail_is_zero = co_await reads_as_zeroes(end, outer.end);
  co_return outer;
}

Task<void> Zeroing::zero_piece(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  if (context_->header().has_raw_external_data()) {
    co_await zero_raw(begin, end, flags);
    // Such an image with a backing file is unusual, but unallocated entries would show that file.
    if (!context_->backing()) co_return;
  }
  if (context_->geometry.version() < 3) {
    co_await zero_without_flag(begin, end, flags);
    co_return;
  }
  const uint64_t unit = context_->geometry.subcluster_size();
  GuestOffset inner_begin(align_up(begin.value(), unit));
  GuestOffset inner_end(align_down(end.value(), unit));
  const Outer outer = co_await outer_subclusters(begin, end);
  if (inner_begin > inner_end) {
    // The range is inside one subcluster.
    if (outer.head_is_zero && outer.tail_is_zero) {
      co_await zero_subclusters(outer.begin, outer.end, flags);
    } else {
      co_await write_zero_bytes(begin, end, flags);
    }
    co_return;
  }
  if (outer.head_is_zero) inner_begin = outer.begin;
  if (outer.tail_is_zero) inner_end = outer.end;
  if (begin < inner_begin) co_await write_zero_bytes(begin, inner_begin, flags);
  if (inner_begin < inner_end) co_await zero_subclusters(inner_begin, inner_end, flags);
  if (inner_end < end) co_await write_zero_bytes(inner_end, end, flags);
}

// Whether a cluster that may be freed is kept, as a zero cluster: with `discard-no-unref` all but
// compressed ones are.
bool Zeroing::keeps_cluster(const L2Entry& old) const {
  return context_->options.discard_no_unref && !old.is_compressed() &&
         old.has_offset(context_->geometry);
}

// The entry with `count` subclusters from `first` on zeroed. Without extended L2 entries, that is
// the whole cluster.
L2Entry Zeroing::zeroed(const L2Entry& old, GuestOffset cluster, uint32_t first, uint32_t count,
                        bool may_unmap) const {
  const Geometry& geometry = context_->geometry;
  const bool is_whole = count == geometry.subclusters_per_cluster();
  if (!is_whole) return old.is_compressed() ? old : old.with_subclusters_zero(first, count);
  const bool has_cluster =
      !old.is_compressed() && old.has_offset(geometry) && !linker_->is_faulty(old, cluster);
  if (!has_cluster || (may_unmap && !keeps_cluster(old))) return L2Entry::zero_plain(geometry);
  return L2Entry::zero_allocated(old.offset(), old.copied(), geometry);
}

// Zeroes [begin, end) in a compressed cluster: no part of one can be zeroed by itself.
Task<void> Zeroing::write_out_compressed(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  if (end - begin == context_->geometry.cluster_size()) co_return;
  const GuestRun run = co_await mapping_->run_at(begin, end - begin);
  if (run.kind == RunKind::kCompressed) co_await write_zero_bytes(begin, end, flags);
}

Task<void> Zeroing::zero_subclusters(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  const Geometry& geometry = context_->geometry;
  const uint32_t per_cluster = geometry.subclusters_per_cluster();
  const bool may_unmap = has_flag(flags, WriteFlags::kMayUnmap);
  const GuestOffset start = geometry.cluster_start(begin);
  const uint64_t count = geometry.clusters_for(end - start);
  const GuestOffset last_start = start + ((count - 1) << geometry.cluster_bits());
  if (per_cluster > 1) {
    const GuestOffset first_end = std::min(end, start + geometry.cluster_size());
    co_await write_out_compressed(begin, first_end, flags);
    if (last_start > begin) co_await write_out_compressed(last_start, end, flags);
  }
  const Linker::Change change = [&](uint64_t index, const L2Entry& old) {
    const GuestOffset cluster = start + (index << geometry.cluster_bits());
    const GuestOffset cluster_end = cluster + geometry.cluster_size();
    const uint32_t first = begin > cluster ? geometry.subcluster_index(begin) : 0;
    const uint32_t last = end < cluster_end ? geometry.subcluster_index(end) : per_cluster;
    return zeroed(old, cluster, first, last - first, may_unmap);
  };
  co_await linker_->change_releasing(start, count, change, emptied(may_unmap));
}

// The bytes of a raw external data file have been zeroed already, and they are the guest's disk.
Linker::Emptied Zeroing::emptied(bool may_discard) const {
  const bool is_raw = context_->header().has_raw_external_data();
  return may_discard && !is_raw ? Linker::Emptied::kDiscarded : Linker::Emptied::kKept;
}

// Version 2: whole clusters are freed, unless a backing file would become visible, now or after it
// has grown; the rest gets zero bytes. Without a backing file unallocated clusters stay so.
Task<void> Zeroing::zero_without_flag(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  const Geometry& geometry = context_->geometry;
  const uint64_t cluster_size = geometry.cluster_size();
  if (context_->backing()) {
    co_await write_zero_bytes(begin, end, flags);
    co_return;
  }
  for (GuestOffset at = begin; at < end;) {
    const GuestOffset cluster = geometry.cluster_start(at);
    const GuestOffset cluster_end = std::min(end, cluster + cluster_size);
    const bool is_whole = at == cluster && (cluster_end == cluster + cluster_size ||
                                            cluster_end.value() >= context_->disk_size());
    if (is_whole) {
      const Linker::Change change = [](uint64_t, const L2Entry&) { return L2Entry(); };
      co_await linker_->change_releasing(cluster, 1, change, Linker::Emptied::kKept);
    } else {
      const GuestRun run = co_await mapping_->run_at(at, cluster_end - at);
      if (run.kind != RunKind::kUnallocated) co_await write_zero_bytes(at, cluster_end, flags);
    }
    at = cluster_end;
  }
}

// The data file must read as the guest's disk without the tables, at any moment, so it gets the
// zeroes. Existing entries stay: if one became a zero cluster, a power cut after the next write of
// data could leave the data in the file and the entry a zero cluster.
//
// Where the tables have zeroes and the data file does not, as after a resize that failed, the rest
// of a subcluster is zeroed, too: if a power cut brought its entry back, old bytes would read
// beside the new zeroes.
Task<void> Zeroing::zero_raw(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  BlockDevice& device = context_->data_device();
  const Outer outer = co_await outer_subclusters(begin, end);
  // Only zero bytes would do for a part of a subcluster.
  const bool is_whole = outer.head_is_zero && outer.tail_is_zero;
  if (has_flag(flags, WriteFlags::kNoFallback) && !is_whole) throw zeroing_needs_write();
  if (outer.head_is_zero) begin = outer.begin;
  if (outer.tail_is_zero && end.value() < context_->disk_size()) end = outer.end;
  // The disk's last cluster may end past both.
  const uint64_t device_end = std::min(end.value(), std::max(context_->disk_size(), device.size()));
  if (begin.value() >= device_end) co_return;
  co_await device.write_zeroes(begin.value(), device_end - begin.value(), flags);
}

Error Zeroing::zeroing_needs_write() {
  return Error(ErrorKind::kUnsupported, ENOTSUP, ErrorData{.code = "qcow2-zeroing-needs-write"},
               "the range cannot be zeroed without writing zero bytes");
}

Task<void> Zeroing::write_zero_bytes(GuestOffset begin, GuestOffset end, WriteFlags flags) {
  if (has_flag(flags, WriteFlags::kNoFallback)) throw zeroing_needs_write();
  context_->health.check_not_corrupt();
  const Buffer zeroes = Buffer::zeroed(std::min(end - begin, kZeroBytesMax));
  for (GuestOffset at = begin; at < end;) {
    const uint64_t length = std::min<uint64_t>(end - at, zeroes.size());
    const WriteBuffers from(zeroes.bytes(0, length));
    co_await writer_->write_locked(at, from);
    at += length;
  }
}

// Whether a part of a cluster is known to be zero without reading its data. Errors count as not
// known.
Task<bool> Zeroing::reads_as_zeroes(GuestOffset begin, GuestOffset end) {
  try {
    for (GuestOffset at = begin; at < end;) {
      const GuestRun run = co_await mapping_->run_at(at, end - at);
      bool is_zero = run.kind == RunKind::kZeroPlain || run.kind == RunKind::kZeroAllocated;
      if (run.kind == RunKind::kUnallocated) {
        is_zero = co_await is_zero_in_backing(at, at + run.length);
      }
      if (!is_zero) co_return false;
      at += run.length;
    }
  } catch (const Error&) {
    co_return false;
  }
  co_return true;
}

L2Entry Zeroing::discarded(const L2Entry& old, GuestOffset cluster) const {
  const Geometry& geometry = context_->geometry;
  const bool is_allocated = old.is_compressed() || old.has_offset(geometry);
  if (!is_allocated && !context_->backing()) return old;
  if (geometry.version() < 3) return L2Entry();
  if (keeps_cluster(old) && !linker_->is_faulty(old, cluster)) {
    return L2Entry::zero_allocated(old.offset(), old.copied(), geometry);
  }
  return L2Entry::zero_plain(geometry);
}

// Skips ranges without an L2 table: nothing to free there, and, without a backing file, nothing to
// hide.
Task<GuestOffset> Zeroing::skip_undiscardable(GuestOffset begin, GuestOffset end) {
  for (GuestOffset at = begin; at < end;) {
    const TableCache::Slice slice = co_await mapping_->l2_slice(at);
    const bool shows_backing = context_->geometry.version() >= 3 && context_->backing();
    if (slice || shows_backing || context_->header().has_raw_external_data()) co_return at;
    const GuestRun run = co_await mapping_->run_at(at, end - at);
    at += run.length;
  }
  co_return end;
}

// The range is within one L2 table.
// REQUIRES: the caller holds Context::guest_lock exclusively for it.
Task<void> Zeroing::discard_piece(GuestOffset begin, GuestOffset end) {
  const Geometry& geometry = context_->geometry;
  if (context_->header().has_raw_external_data()) {
    const bool is_passed = allocator_->passes_discard(FreeCause::kDiscard);
    co_await zero_raw(begin, end, is_passed ? WriteFlags::kMayUnmap : WriteFlags::kNone);
    co_return;
  }
  const Linker::Change change = [&](uint64_t index, const L2Entry& old) {
    return discarded(old, begin + (index << geometry.cluster_bits()));
  };
  co_await linker_->change_releasing(begin, geometry.clusters_for(end - begin), change,
                                     Linker::Emptied::kDiscarded);
}

Task<void> Zeroing::discard(GuestOffset offset, uint64_t length) {
  const Geometry& geometry = context_->geometry;
  // Version 2 has nothing to hide a backing file with; QEMU also leaves the bytes past its end.
  if (geometry.version() < 3 && context_->backing()) co_return;
  const uint64_t cluster_size = geometry.cluster_size();
  GuestOffset at(align_up(offset.value(), cluster_size));
  const uint64_t wanted_end = offset.value() + length;
  const GuestOffset end(wanted_end >= context_->disk_size() ? disk_end()
                                                            : align_down(wanted_end, cluster_size));
  while (at < end) {
    at = co_await skip_undiscardable(at, end);
    if (at >= end) break;
    // Stay within one L2 table, so that no table is created for unallocated ranges.
    const uint64_t table_bytes = geometry.l2_coverage();
    const GuestOffset table_end(align_down(at.value(), table_bytes) + table_bytes);
    const GuestOffset piece_end = std::min({end, table_end, at + writer_->piece_size_max()});
    const RangeLock::Guard guard = co_await context_->guest_lock.acquire(
        at.value(), piece_end - at, RangeLock::Mode::kExclusive);
    co_await discard_piece(at, piece_end);
    at = piece_end;
  }
}

}  // namespace byre::qcow2
