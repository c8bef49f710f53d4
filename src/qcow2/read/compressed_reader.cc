// SPDX-License-Identifier: Apache-2.0
#include "qcow2/read/compressed_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "async/when_all.h"
#include "async/worker_pool.h"
#include "block/read_zero_padded.h"
#include "codec/codec.h"

namespace byre::qcow2 {

namespace {

// The most compressed bytes in one storage read, unless a single cluster takes more.
constexpr uint64_t kGroupSizeMax = 1 << 20;
// Gaps between two compressed clusters up to this size are read rather than skipped.
constexpr uint64_t kGapMax = 4096;
constexpr uint64_t kGroupsMax = 8;
// Decompressed bytes per job on a worker thread; less would not be worth the switch.
constexpr uint64_t kJobSize = 128 << 10;
// Below this size the loop's own thread decompresses.
constexpr uint64_t kInPlaceMax = 8 << 10;
constexpr size_t kCachedMax = 4;

// One per thread and type: creating one is expensive.
codec::Decompressor& decompressor(CompressionType type) {
  thread_local std::array<std::unique_ptr<codec::Decompressor>, 2> of_thread;
  std::unique_ptr<codec::Decompressor>& mine = of_thread.at(static_cast<size_t>(type));
  if (!mine) mine = codec::Decompressor::make(type);
  return *mine;
}

// The result of a job on a worker thread: exceptions for damaged data name the cluster.
struct Outcome {
  std::optional<GuestOffset> damaged;
  std::string reason;
};

}  // namespace

CompressedReader::CompressedReader(Context* context) : context_(context), groups_(kGroupsMax) {}

CompressedReader::~CompressedReader() = default;

bool CompressedReader::is_whole_cluster(const CompressedPiece& piece) const {
  return piece.to.size() == context_->geometry.cluster_size();
}

Task<void> CompressedReader::read(std::vector<CompressedPiece> pieces) {
  std::vector<Task<void>> work;
  const std::span<CompressedPiece> all(pieces);
  for (size_t first = 0; first < all.size();) {
    if (!is_whole_cluster(all[first])) {
      work.push_back(read_part(&all[first++]));
      continue;
    }
    Group group{all.subspan(first, 1), all[first].run.host_offset, all[first].run.compressed_size};
    for (size_t next = first + 1; next < all.size() && is_whole_cluster(all[next]); ++next) {
      const GuestRun& run = all[next].run;
      if (run.host_offset < group.host_offset) break;
      const uint64_t begin = run.host_offset - group.host_offset;
      const uint64_t end = begin + run.compressed_size;
      if (begin > group.size + kGapMax || end > kGroupSizeMax) break;
      group.size = std::max(group.size, end);
      group.pieces = all.subspan(first, next - first + 1);
    }
    first += group.pieces.size();
    work.push_back(read_group(group));
  }
  co_await when_all(std::move(work));
}

Task<void> CompressedReader::read_group(Group group) {
  const Semaphore::Permit permit = co_await groups_.acquire();
  Buffer compressed(group.size);
  const ReadBuffers to(compressed.bytes());
  co_await context_->events().raise(DebugEvent::kReadCompressed);
  co_await read_zero_padded(&context_->file(), group.host_offset.value(), to);
  const uint64_t cluster_size = context_->geometry.cluster_size();
  const size_t pieces_per_job = std::max<uint64_t>(kJobSize / cluster_size, 1);
  std::vector<Task<void>> jobs;
  for (size_t first = 0; first < group.pieces.size(); first += pieces_per_job) {
    const size_t count = std::min(pieces_per_job, group.pieces.size() - first);
    jobs.push_back(
        decompress(group.pieces.subspan(first, count), group.host_offset, compressed.bytes()));
  }
  co_await when_all(std::move(jobs));
}

// Decompresses the whole clusters of the pieces from `compressed`, which begins at `base` in the
// file.
Task<void> CompressedReader::decompress(std::span<CompressedPiece> pieces, HostOffset base,
                                        ConstBytes compressed) {
  const CompressionType type = context_->header().compression_type;
  const uint64_t cluster_size = context_->geometry.cluster_size();
  const auto job = [pieces, base, compressed, type, cluster_size] {
    Outcome outcome;
    Buffer scratch;
    for (const CompressedPiece& piece : pieces) {
      Bytes out = piece.to.contiguous();
      if (out.empty()) {
        if (scratch.size() == 0) scratch = Buffer(cluster_size);
        out = scratch.bytes();
      }
      const ConstBytes in =
          compressed.subspan(piece.run.host_offset - base, piece.run.compressed_size);
      try {
        decompressor(type).decompress(in, out);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kCorrupt) throw;
        outcome.damaged = piece.run.guest_offset;
        outcome.reason = error.message();
        break;
      }
      if (out.data() == scratch.data()) piece.to.copy_from(out);
    }
    return outcome;
  };
  Outcome outcome;
  if (pieces.size() * cluster_size <= kInPlaceMax) {
    outcome = job();
  } else {
    outcome = co_await WorkerPool::shared().run(job);
  }
  if (!outcome.damaged) co_return;
  throw context_->health.unreadable(
      {.code = "qcow2-compressed-cluster-damaged", .value = outcome.damaged->value()},
      fmt::format("the compressed cluster of guest offset {:#x} is damaged: {}",
                  outcome.damaged->value(), outcome.reason));
}

Task<void> CompressedReader::read_part(CompressedPiece* piece) {
  const std::shared_ptr<CachedCluster> cached = cached_cluster(piece->run);
  const Mutex::Guard guard = co_await cached->loading.lock();
  const uint64_t skip = context_->geometry.offset_in_cluster(piece->run.guest_offset);
  if (cached->bytes.size() == 0) {
    Buffer whole(context_->geometry.cluster_size());
    CompressedPiece cluster{piece->run, whole.bytes()};
    cluster.run.guest_offset -= skip;
    const Group group{std::span(&cluster, 1), cluster.run.host_offset, cluster.run.compressed_size};
    co_await read_group(group);
    cached->bytes = std::move(whole);
  }
  piece->to.copy_from(cached->bytes.bytes(skip, piece->to.size()));
}

std::shared_ptr<CompressedReader::CachedCluster> CompressedReader::cached_cluster(
    const GuestRun& run) {
  for (auto at = cached_.begin(); at != cached_.end(); ++at) {
    if ((*at)->host_offset == run.host_offset && (*at)->compressed_size == run.compressed_size) {
      cached_.splice(cached_.begin(), cached_, at);
      return cached_.front();
    }
  }
  if (cached_.size() == kCachedMax) cached_.pop_back();
  cached_.push_front(std::make_shared<CachedCluster>());
  cached_.front()->host_offset = run.host_offset;
  cached_.front()->compressed_size = run.compressed_size;
  return cached_.front();
}

void CompressedReader::drop(HostOffset host_offset, uint64_t length) {
  std::erase_if(cached_, [&](const std::shared_ptr<CachedCluster>& cached) {
    return cached->host_offset < host_offset + length &&
           host_offset < cached->host_offset + cached->compressed_size;
  });
}

}  // namespace byre::qcow2
