// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "async/clean_up.h"
#include "base/units.h"
#include "block/buffer.h"
#include "qcow2/read/mapping.h"
#include "qcow2/read/reader.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/space/overlap_check.h"

namespace byre::qcow2 {

using layout::Geometry;
using layout::L2Entry;
using layout::SubclusterKind;

namespace {

// Larger requests are split, so that the memory of a piece and the time for which it locks others
// out are bounded.
constexpr uint64_t kPieceSizeMax = 64 * kMiB;

GuestOffset smaller(GuestOffset a, GuestOffset b) {
  return std::min(a, b);
}

}  // namespace

uint64_t Writer::piece_size_max() const {
  const uint64_t linked = linker_->clusters_max() << context_->geometry.cluster_bits();
  return std::min(std::max(kPieceSizeMax, context_->geometry.cluster_size()), linked);
}

Task<void> Writer::write(GuestOffset offset, WriteBuffers from) {
  const uint64_t cluster_size = context_->geometry.cluster_size();
  const uint64_t piece_max = piece_size_max();
  for (uint64_t done = 0; done < from.size();) {
    const GuestOffset at = offset + done;
    const uint64_t length = std::min<uint64_t>(
        from.size() - done, piece_max - context_->geometry.offset_in_cluster(at));
    const WriteBuffers piece = from.slice(done, length);
    const uint64_t lock_begin = context_->geometry.cluster_start(at).value();
    const uint64_t lock_length = align_up(at.value() + length, cluster_size) - lock_begin;
    done += length;
    {
      const RangeLock::Guard guard =
          co_await context_->guest_lock.acquire(lock_begin, lock_length, RangeLock::Mode::kShared);
      const std::optional<Part> part = part_in_memory(at, at + length);
      if (part && part->state == State::kInPlace) {
        co_await write_to(part->host + context_->geometry.offset_in_cluster(at), piece);
        continue;
      }
      const bool is_written = co_await write_in_place(at, piece);
      if (is_written) continue;
    }
    const RangeLock::Guard guard =
        co_await context_->guest_lock.acquire(lock_begin, lock_length, RangeLock::Mode::kExclusive);
    co_await write_locked(at, piece);
  }
}

// Writes only if all of the range can be written in place.
Task<bool> Writer::write_in_place(GuestOffset offset, WriteBuffers from) {
  std::vector<Part> parts;
  const GuestOffset end = offset + from.size();
  for (GuestOffset at = offset; at < end;) {
    const Part part = co_await part_at(at, end);
    if (part.state != State::kInPlace) co_return false;
    parts.push_back(part);
    at = part.end;
  }
  for (const Part& part : parts) {
    const WriteBuffers piece = from.slice(part.begin - offset, part.end - part.begin);
    co_await write_to(part.host + context_->geometry.offset_in_cluster(part.begin), piece);
  }
  co_return true;
}

Task<void> Writer::write_locked(GuestOffset offset, WriteBuffers from) {
  const GuestOffset end = offset + from.size();
  for (GuestOffset at = offset; at < end;) {
    const Part part = co_await part_at(at, end);
    const WriteBuffers piece = from.slice(part.begin - offset, part.end - part.begin);
    at = part.end;
    if (part.state == State::kInPlace) {
      co_await write_to(part.host + context_->geometry.offset_in_cluster(part.begin), piece);
    } else if (part.state == State::kReserved) {
      co_await write_reserved(part, piece);
    } else {
      const Part written = co_await write_new(part, piece);
      at = written.end;
    }
  }
}

// How to write the bytes [begin, end), which are in the cluster of `entry`.
Writer::Part Writer::classify(const L2Entry& entry, GuestOffset begin, GuestOffset end) const {
  const Geometry& geometry = context_->geometry;
  const GuestOffset start = geometry.cluster_start(begin);
  const uint32_t first = geometry.subcluster_index(begin);
  const uint32_t last = geometry.subcluster_index(end - 1);
  const uint32_t bits = geometry.subcluster_bits();
  const GuestOffset first_start = start + (uint64_t{first} << bits);
  const GuestOffset last_end = start + (uint64_t{last + 1} << bits);
  Part part{.begin = begin, .end = end, .copy_begin = first_start, .copy_end = last_end};
  const bool is_own = !entry.is_compressed() && entry.has_offset(geometry) &&
                      (entry.copied() || geometry.external_data_file());
  if (!is_own) {
    // If part of the old data must be kept, the whole cluster is copied; otherwise its other
    // subclusters do not change: zeroes, or the backing file's.
    const bool keeps_bytes = entry.is_compressed() || entry.has_offset(geometry);
    if (keeps_bytes) {
      part.copy_begin = start;
      part.copy_end = start + geometry.cluster_size();
    }
    if (geometry.external_data_file()) part.host = HostOffset(start.value());
    return part;
  }
  part.host = entry.offset();
  part.state = State::kInPlace;
  for (uint32_t i = first; i <= last; ++i) {
    if (entry.subcluster(i, geometry) != SubclusterKind::kNormal) part.state = State::kReserved;
  }
  // Subclusters that hold data need no copying around the request.
  if (entry.subcluster(first, geometry) == SubclusterKind::kNormal) part.copy_begin = begin;
  if (entry.subcluster(last, geometry) == SubclusterKind::kNormal) part.copy_end = end;
  return part;
}

bool Writer::joins(const Part& part, const Part& next) const {
  if (part.state != next.state) return false;
  // Copying is only possible at the ends of a part.
  if (part.copy_end != part.end || next.copy_begin != next.begin) return false;
  if (part.state == State::kNew) return true;
  return next.host - part.host == next.begin - part.first_cluster(context_->geometry);
}

// The same as Linker::check_entry(), with the findings that QEMU has for a write.
void Writer::check_entry(const L2Entry& entry, GuestOffset offset, uint64_t length) const {
  const Geometry& geometry = context_->geometry;
  if (entry.problem(geometry) == layout::L2Problem::kUnaligned) {
    const bool is_zero = !geometry.extended_l2() && (entry.word() & L2Entry::kZero) != 0;
    const uint64_t host_offset = entry.offset().value();
    throw context_->health.report_corruption(
        {.code = is_zero ? Literal("qcow2-zero-cluster-unaligned")
                         : Literal("qcow2-data-cluster-unaligned"),
         .value = host_offset,
         .offset = offset.value()},
        fmt::format("the cluster of guest offset {:#x} has the host offset {:#x}, not a multiple "
                    "of the cluster size {}",
                    offset.value(), host_offset, geometry.cluster_size()));
  }
  linker_->check_entry(entry, offset, length);
}

// All of [begin, end), if it is in one cluster whose entry is in memory, as for most requests.
std::optional<Writer::Part> Writer::part_in_memory(GuestOffset begin, GuestOffset end) {
  const Geometry& geometry = context_->geometry;
  if (geometry.cluster_start(begin) != geometry.cluster_start(end - 1)) return std::nullopt;
  const TableCache::Slice slice = mapping_->find_l2_slice(begin);
  if (!slice) return std::nullopt;
  const L2Entry entry = slice.l2_entry(mapping_->l2_slice_index(begin));
  check_entry(entry, begin, end - begin);
  return classify(entry, begin, end);
}

// The longest part that begins at `begin`.
Task<Writer::Part> Writer::part_at(GuestOffset begin, GuestOffset end) {
  const Geometry& geometry = context_->geometry;
  const uint64_t cluster_size = geometry.cluster_size();
  Part part;
  for (GuestOffset at = begin; at < end;) {
    const TableCache::Slice slice = co_await mapping_->l2_slice(at);
    const GuestOffset slice_end = GuestOffset(align_down(at.value(), mapping_->bytes_per_slice()) +
                                              mapping_->bytes_per_slice());
    for (const GuestOffset here_end = smaller(end, slice_end); at < here_end;) {
      const GuestOffset cluster_end = smaller(end, geometry.cluster_start(at) + cluster_size);
      L2Entry entry;
      if (slice) {
        entry = slice.l2_entry(mapping_->l2_slice_index(at));
        check_entry(entry, at, cluster_end - at);
      }
      const Part next = classify(entry, at, cluster_end);
      if (at != begin && !joins(part, next)) co_return part;
      if (at == begin) {
        part = next;
      } else {
        part.end = next.end;
        part.copy_end = next.copy_end;
      }
      at = cluster_end;
    }
  }
  co_return part;
}

Task<void> Writer::write_to(HostOffset host, WriteBuffers from) {
  if (!context_->storage.data_file()) overlap_->check(host, from.size());
  Task<void> writing =
      context_->data_device().write(host.value(), std::move(from), WriteFlags::kNone);
  if (!context_->storage.data_events().has_listener()) return writing;
  return raise_and_do(context_->storage.data_events(), DebugEvent::kWriteAio, std::move(writing));
}

// Drops the copying of zeroes, for clusters that read as zeroes already.
Task<Writer::Part> Writer::without_zeroes(Part part) {
  const auto is_zero = [this](const GuestRun& run, GuestOffset end) {
    const bool is_unallocated = run.kind == RunKind::kUnallocated && !context_->backing();
    return (is_unallocated || run.kind == RunKind::kZeroPlain ||
            run.kind == RunKind::kZeroAllocated) &&
           run.guest_offset + run.length >= end;
  };
  if (part.copy_begin < part.begin) {
    const GuestRun head = co_await mapping_->run_at(part.copy_begin, part.begin - part.copy_begin);
    if (is_zero(head, part.begin)) part.copy_begin = part.begin;
  }
  if (part.end < part.copy_end) {
    const GuestRun tail = co_await mapping_->run_at(part.end, part.copy_end - part.end);
    if (is_zero(tail, part.copy_end)) part.copy_end = part.end;
  }
  co_return part;
}

Task<void> Writer::write_joined(Part part, HostOffset host, WriteBuffers from) {
  const Geometry& geometry = context_->geometry;
  const uint64_t head = part.begin - part.copy_begin;
  const uint64_t tail = part.copy_end - part.end;
  const HostOffset host_begin = host + geometry.offset_in_cluster(part.copy_begin);
  if (head + tail == 0) {
    co_await write_to(host_begin, from);
    co_return;
  }
  Buffer copied(head + tail);
  const ReadBuffers before(copied.bytes(0, head));
  const ReadBuffers after(copied.bytes(head, tail));
  co_await context_->events().raise(DebugEvent::kCowRead);
  if (head > 0) co_await reader_->read(part.copy_begin, before);
  if (tail > 0) co_await reader_->read(part.end, after);
  WriteBuffers all = before;
  all.append(from);
  all.append(after);
  co_await context_->storage.data_events().raise(DebugEvent::kCowWrite);
  co_await write_to(host_begin, all);
}

// Call before writing to clusters that were allocated but not read.
Task<void> Writer::withdraw_discards(Part part, HostOffset host) {
  if (discards_->is_idle()) co_return;
  const HostOffset begin = host + context_->geometry.offset_in_cluster(part.copy_begin);
  co_await discards_->withdraw(begin, part.copy_end - part.copy_begin);
}

Task<void> Writer::write_reserved(Part part, WriteBuffers from) {
  co_await withdraw_discards(part, part.host);
  co_await write_joined(part, part.host, from);
  co_await link(part, part.host);
}

// Writes as much as fits into one run of free clusters; returns what was written.
Task<Writer::Part> Writer::write_new(Part part, WriteBuffers from) {
  const Geometry& geometry = context_->geometry;
  const GuestOffset start = part.first_cluster(geometry);
  // In a growing file the table that maps a cluster comes before it, as in QEMU, and the clusters
  // of one table come before the next table.
  co_await linker_->ensure_table(start);
  const GuestOffset table_end(align_down(start.value(), geometry.l2_coverage()) +
                              geometry.l2_coverage());
  if (table_end < part.end) part.end = part.copy_end = table_end;
  if (geometry.external_data_file()) {
    const WriteBuffers piece = from.slice(0, part.end - part.begin);
    co_await withdraw_discards(part, part.host);
    co_await write_joined(part, part.host, piece);
    co_await link(part, part.host);
    co_return part;
  }
  const uint64_t count = geometry.clusters_for(part.end - start);
  const Allocator::Allocation place = co_await allocator_->allocate(count);
  const ClusterRange range = place.range;
  const GuestOffset range_end = start + (range.count << geometry.cluster_bits());
  if (range_end < part.end) part.end = part.copy_end = range_end;
  const HostOffset host = geometry.offset_of(range.first);
  std::exception_ptr error;
  try {
    const WriteBuffers piece = from.slice(0, part.end - part.begin);
    Part written = part;
    if (place.is_blank) written = co_await without_zeroes(part);
    co_await write_joined(written, host, piece);
    co_await link(part, host);
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    Task<void> freeing = allocator_->free(range);
    co_await clean_up_and_rethrow(std::move(freeing), error);
  }
  co_return part;
}

Task<void> Writer::link(Part part, HostOffset host) {
  const Geometry& geometry = context_->geometry;
  const uint64_t bits = geometry.subcluster_bits();
  const GuestOffset start = part.first_cluster(geometry);
  const uint64_t count = geometry.clusters_for(part.end - start);
  const Linker::Change change = [&](uint64_t index, const L2Entry& old) {
    const uint64_t in_part = index << geometry.cluster_bits();
    const HostOffset place = host + in_part;
    if (!geometry.extended_l2()) return L2Entry::normal(place, true, geometry);
    const GuestOffset cluster = start + in_part;
    const GuestOffset cluster_end = cluster + geometry.cluster_size();
    const uint64_t begin = std::max(part.copy_begin, cluster) - cluster;
    const uint64_t end = std::min(part.copy_end, cluster_end) - cluster;
    const auto first = static_cast<uint32_t>(begin >> bits);
    const auto last = static_cast<uint32_t>((end - 1) >> bits);
    // The bitmap of a compressed cluster is reserved, and the whole cluster was copied.
    const uint64_t bitmap = old.is_compressed() ? 0 : old.bitmap();
    const L2Entry entry(L2Entry::normal(place, true, geometry).word(), bitmap);
    return entry.with_subclusters_allocated(first, last - first + 1);
  };
  co_await linker_->change(start, count, change);
}

}  // namespace byre::qcow2
