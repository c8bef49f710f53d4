// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/compressed_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <optional>
#include <utility>

#include "async/clean_up.h"
#include "async/when_all.h"
#include "async/worker_pool.h"
#include "base/units.h"
#include "byre/error.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/write/preparation.h"

namespace byre::qcow2 {

using layout::L2Entry;

namespace {

// The most clusters in flight. A slow cluster delays the allocation for those after it, which are
// compressed meanwhile, within this bound.
uint64_t clusters_in_work_max(uint64_t cluster_size) {
  constexpr uint64_t kBytesPerThread = 4 * kMiB;
  const uint64_t per_thread = std::clamp<uint64_t>(kBytesPerThread / cluster_size, 3, 8);
  return per_thread * WorkerPool::shared().threads_max();
}

}  // namespace

CompressedWriter::CompressedWriter(Context* context, Preparation* preparation, Allocator* allocator,
                                   Linker* linker, Writer* writer, OverlapCheck* overlap)
    : context_(context),
      preparation_(preparation),
      allocator_(allocator),
      linker_(linker),
      writer_(writer),
      overlap_(overlap),
      under_way_(clusters_in_work_max(context->geometry.cluster_size())),
      // One more per thread, so that no thread waits for the loop.
      compressing_(uint64_t{2} * WorkerPool::shared().threads_max()) {}

CompressedWriter::~CompressedWriter() = default;

Task<void> CompressedWriter::write(GuestOffset offset, WriteBuffers from) {
  const uint64_t cluster_size = context_->geometry.cluster_size();
  const uint64_t end = offset.value() + from.size();
  if (context_->header().has_external_data_file()) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "qcow2-compressed-with-data-file"},
                "an image with an external data file cannot have compressed clusters");
  }
  if (context_->geometry.offset_in_cluster(offset) != 0 ||
      (end % cluster_size != 0 && end != context_->disk_size())) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "qcow2-compressed-write-unaligned", .offset = offset.value()},
                fmt::format("a compressed write of {} bytes to guest offset {:#x} does not cover "
                            "whole clusters of {} bytes",
                            from.size(), offset.value(), cluster_size));
  }
  if (from.size() <= cluster_size) {
    co_await write_cluster(offset, std::move(from));
    co_return;
  }
  std::vector<Task<void>> clusters;
  for (uint64_t at = 0; at < from.size(); at += cluster_size) {
    const uint64_t length = std::min<uint64_t>(cluster_size, from.size() - at);
    clusters.push_back(write_cluster(offset + at, from.slice(at, length)));
  }
  co_await when_all(std::move(clusters));
}

std::unique_ptr<CompressedWriter::CompressionContext> CompressedWriter::take_context() {
  if (!idle_.empty()) {
    std::unique_ptr<CompressionContext> compression = std::move(idle_.back());
    idle_.pop_back();
    return compression;
  }
  auto compression = std::make_unique<CompressionContext>();
  const auto type = context_->header().compression_type;
  const int level = context_->options.compression_level;
  compression->compressor =
      codec::Compressor::make(type, level == 0 ? codec::kDefaultLevel : level);
  return compression;
}

Task<std::optional<size_t>> CompressedWriter::compress(WriteBuffers from, Bytes out) {
  const uint64_t cluster_size = context_->geometry.cluster_size();
  const Semaphore::Permit permit = co_await compressing_.acquire();
  std::unique_ptr<CompressionContext> compression = take_context();
  ConstBytes in = from.contiguous();
  if (in.size() != cluster_size) {
    if (compression->in.size() == 0) compression->in = Buffer(cluster_size);
    const Bytes whole = compression->in.bytes();
    from.copy_to(whole.first(from.size()));
    std::ranges::fill(whole.subspan(from.size()), uint8_t{0});
    in = whole;
  }
  codec::Compressor* const compressor = compression->compressor.get();
  const auto work = [compressor, in, out] { return compressor->compress(in, out); };
  const std::optional<size_t> size = co_await WorkerPool::shared().run(work);
  idle_.push_back(std::move(compression));
  co_return size;
}

Task<void> CompressedWriter::write_cluster(GuestOffset offset, WriteBuffers from) {
  const uint64_t cluster_size = context_->geometry.cluster_size();
  Turnstile::Ticket ticket = places_.take();
  const Semaphore::Permit permit = co_await under_way_.acquire();
  co_await preparation_->begin();
  Buffer buffer;
  if (!idle_buffers_.empty()) {
    buffer = std::move(idle_buffers_.back());
    idle_buffers_.pop_back();
  } else {
    buffer = Buffer(cluster_size);
  }
  // The result must be smaller than the cluster.
  const Bytes out = buffer.bytes(0, cluster_size - 1);
  const std::optional<size_t> size = co_await compress(from, out);
  co_await ticket.turn();
  if (size) {
    co_await write_compressed(offset, out.first(*size), std::move(ticket));
  } else {
    co_await writer_->write(offset, std::move(from));
  }
  idle_buffers_.push_back(std::move(buffer));
}

// The L2 table is allocated before the bytes, and both are allocated before the next cluster's
// turn.
Task<void> CompressedWriter::write_compressed(GuestOffset offset, ConstBytes compressed,
                                              Turnstile::Ticket ticket) {
  const layout::Geometry& geometry = context_->geometry;
  const RangeLock::Guard guard = co_await context_->guest_lock.acquire(
      offset.value(), geometry.cluster_size(), RangeLock::Mode::kExclusive);
  co_await linker_->ensure_table(offset);
  const HostOffset place = co_await allocator_->allocate_bytes(compressed.size());
  ticket.pass();
  const HostCluster first = geometry.cluster_of(place);
  const HostCluster last = geometry.cluster_of(place + (compressed.size() - 1));
  std::exception_ptr error;
  try {
    if (place.value() + compressed.size() > geometry.compressed_offset_end()) {
      throw Error(ErrorKind::kNoSpace, EFBIG,
                  ErrorData{.code = "qcow2-compressed-offset-too-high",
                            .bound = geometry.compressed_offset_end(),
                            .offset = place.value()},
                  fmt::format("host offset {:#x} is too high for the descriptor of a compressed "
                              "cluster",
                              place.value()));
    }
    overlap_->check(place, compressed.size());
    const WriteBuffers from(compressed);
    co_await context_->storage.data_events().raise(DebugEvent::kWriteCompressed);
    co_await context_->file().write(place.value(), from);
    const L2Entry entry = L2Entry::compressed(place, compressed.size(), geometry);
    const Linker::Change change = [entry](uint64_t, const L2Entry&) { return entry; };
    co_await context_->events().raise(DebugEvent::kL2UpdateCompressed);
    co_await linker_->change(offset, 1, change);
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) co_return;
  const ClusterRange touched{first, last - first + 1};
  Task<void> freeing = allocator_->free(touched);
  co_await clean_up_and_rethrow(std::move(freeing), error);
}

}  // namespace byre::qcow2
