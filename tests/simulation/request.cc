// SPDX-License-Identifier: Apache-2.0
#include "simulation/request.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/checked.h"
#include "base/units.h"

namespace byre::simulation {

namespace {

using Kind = Request::Kind;

// Large clusters are not always written as a whole.
constexpr uint64_t kLengthMax = 256 * kKiB;

Kind draw_snapshot_kind(Random& random, const RequestBounds& bounds) {
  constexpr size_t kSnapshotsMax = 5;
  const bool is_create =
      bounds.snapshots.empty() || (bounds.snapshots.size() < kSnapshotsMax && one_in(random, 2));
  if (is_create) return Kind::kCreate;
  return one_in(random, 2) ? Kind::kApply : Kind::kRemove;
}

Kind draw_kind(Random& random, const RequestBounds& bounds) {
  if (bounds.manages_snapshots && one_in(random, 14)) return draw_snapshot_kind(random, bounds);
  if (bounds.amends && one_in(random, 16)) return Kind::kAmend;
  if (bounds.empties && one_in(random, 30)) return Kind::kEmpty;
  if (bounds.rebases && one_in(random, 30)) return Kind::kRebase;
  if (bounds.commits && one_in(random, 30)) return Kind::kCommit;
  if (bounds.shares && one_in(random, 12)) {
    return bounds.snapshots.empty() || one_in(random, 3) ? Kind::kUnallocate : Kind::kShare;
  }
  const uint64_t lot = random() % 200;
  if (bounds.only_reads) return lot < 100 ? Kind::kRead : Kind::kFlush;
  if (lot < 24) return Kind::kRead;
  if (lot < 96) return Kind::kWrite;
  if (lot < 120) return bounds.can_compress ? Kind::kCompressed : Kind::kWrite;
  if (lot < 146) return Kind::kZeroes;
  if (lot < 166) return Kind::kDiscard;
  if (lot < 198) return Kind::kFlush;
  return Kind::kResize;
}

WriteFlags draw_flags(Random& random, Kind kind) {
  WriteFlags flags = one_in(random, 12) ? WriteFlags::kFua : WriteFlags::kNone;
  if (kind != Kind::kZeroes) return flags;
  if (one_in(random, 2)) flags = flags | WriteFlags::kMayUnmap;
  if (one_in(random, 5)) flags = flags | WriteFlags::kNoFallback;
  return flags;
}

void draw_range(Random& random, Request* request, const RequestBounds& bounds) {
  const uint64_t cluster = bounds.cluster_size;
  uint64_t offset = one_in(random, 2) ? random() % bounds.disk_size
                                      : bounds.hot_begin + random() % bounds.hot_size;
  uint64_t length;
  switch (random() % 6) {
    case 0:
      length = 1 + random() % 700;  // any byte
      break;
    case 1:
    case 2:
      offset = align_down(offset, cluster);
      length = (1 + random() % 3) * cluster;
      break;
    case 3:
      offset = align_down(offset, kSectorSize);
      length = (1 + random() % 24) * kSectorSize;
      break;
    case 4:
      length = 1 + random() % (2 * cluster);
      break;
    default:
      offset = align_down(offset, kSectorSize);
      length = (1 + random() % (div_ceil(3 * cluster, kSectorSize))) * kSectorSize;
      break;
  }
  if (one_in(random, 40)) length = 1 + random() % bounds.disk_size;
  request->offset = std::min(offset, bounds.disk_size - 1);
  request->length =
      std::min({length, bounds.disk_size - request->offset, std::max(kLengthMax, cluster)});
}

}  // namespace

Request draw_request(Random& random, uint64_t number, const RequestBounds& bounds) {
  Request request;
  request.number = number;
  request.kind = draw_kind(random, bounds);
  request.flags = draw_flags(random, request.kind);
  if (request.kind == Kind::kFlush || request.kind == Kind::kEmpty) return request;
  if (request.kind == Kind::kAmend) {
    request.length = random() % 1000;
    return request;
  }
  if (request.kind == Kind::kRebase) {
    const uint64_t size = align_up(random() % (bounds.size_max + 1), kSectorSize);
    request.length = one_in(random, 4) ? 0 : size;
    request.compresses = bounds.can_compress && one_in(random, 4);
    return request;
  }
  if (request.kind == Kind::kCommit) {
    request.length = one_in(random, 4) ? 2 : 1;
    return request;
  }
  if (request.kind == Kind::kCreate) {
    request.snapshot = fmt::format("of request {}", number);
    return request;
  }
  if (request.is_of_snapshots()) {
    request.snapshot = bounds.snapshots[random() % bounds.snapshots.size()];
    return request;
  }
  if (request.kind == Kind::kResize) {
    const uint64_t step = one_in(random, 2) ? 8 * bounds.cluster_size : bounds.size_max;
    const uint64_t change = random() % step;
    const bool shrinks = one_in(random, 3) && change < bounds.disk_size;
    request.length =
        shrinks ? bounds.disk_size - change : std::min(bounds.disk_size + change, bounds.size_max);
    request.length = align_up(request.length, kSectorSize);
    return request;
  }
  draw_range(random, &request, bounds);
  request.compresses = one_in(random, 3);
  if (request.kind == Kind::kShare) {
    request.snapshot = bounds.snapshots[random() % bounds.snapshots.size()];
  }
  if (request.is_set_back()) request.flags = WriteFlags::kNone;
  if (request.is_of_clusters()) {
    request.compresses = !one_in(random, 8);
    const uint64_t clusters = 1 + random() % (request.is_set_back() ? 12 : 2);
    request.offset = align_down(request.offset, bounds.cluster_size);
    request.length = std::min(clusters * bounds.cluster_size, bounds.disk_size - request.offset);
  }
  return request;
}

std::string Request::describe() const {
  const char* const names[] = {
      "read",   "write",           "write compressed", "write_zeroes",   "discard", "unallocate",
      "share",  "flush",           "resize",           "amend",          "empty",   "rebase",
      "commit", "create snapshot", "apply snapshot",   "delete snapshot"};
  std::string text = fmt::format("request {}: {}", number, names[static_cast<int>(kind)]);
  if (is_of_snapshots()) return text + fmt::format(" '{}'", snapshot);
  if (kind != Kind::kFlush) text += fmt::format(" {:#x}+{:#x}", offset, length);
  if (kind == Kind::kShare) text += fmt::format(" of '{}'", snapshot);
  if (has_flag(flags, WriteFlags::kFua)) text += " fua";
  if (has_flag(flags, WriteFlags::kMayUnmap)) text += " may-unmap";
  if (has_flag(flags, WriteFlags::kNoFallback)) text += " no-fallback";
  return text;
}

Task<void> perform(BlockDevice* disk, Request request, std::vector<uint8_t>* bytes,
                   Preallocation preallocation) {
  const ReadBuffers vector((Bytes(*bytes)));
  // Shrinking does not preallocate.
  if (request.length < disk->size()) preallocation = Preallocation::kOff;
  switch (request.kind) {
    case Request::Kind::kRead:
      co_await disk->read(request.offset, vector);
      break;
    case Request::Kind::kWrite:
      co_await disk->write(request.offset, vector, request.flags);
      break;
    case Request::Kind::kCompressed:
      co_await disk->write(request.offset, vector, request.flags | WriteFlags::kCompressed);
      break;
    case Request::Kind::kZeroes:
      co_await disk->write_zeroes(request.offset, request.length, request.flags);
      break;
    case Request::Kind::kDiscard:
      co_await disk->discard(request.offset, request.length);
      break;
    case Request::Kind::kFlush:
      co_await disk->flush();
      break;
    case Request::Kind::kResize:
      co_await disk->resize(request.length, preallocation);
      break;
    default:
      BYRE_ASSERT(false);
  }
}

}  // namespace byre::simulation
