// SPDX-License-Identifier: Apache-2.0
#include "qcow2/read/reader.h"

#include <algorithm>
#include <utility>

#include "async/ready.h"
#include "async/when_all.h"
#include "block/read_zero_padded.h"
#include "qcow2/read/compressed_reader.h"

namespace byre::qcow2 {

namespace {

// The most storage reads of one request in flight at once.
constexpr size_t kReadsMax = 64;
// The most compressed clusters passed on together: enough to keep every core busy.
constexpr size_t kCompressedMax = 256;

// Whether `next` can be read with `run` in one read.
bool continues(const GuestRun& run, const GuestRun& next) {
  if (next.kind != run.kind) return false;
  if (run.kind == RunKind::kData) return next.host_offset == run.host_offset + run.length;
  return run.kind == RunKind::kUnallocated;
}

}  // namespace

Reader::Reader(Context* context, Mapping* mapping)
    : context_(context),
      mapping_(mapping),
      compressed_(std::make_unique<CompressedReader>(context)) {}

Reader::~Reader() = default;

Task<void> Reader::read(GuestOffset offset, ReadBuffers to) {
  if (to.size() == 0) co_return;
  std::optional<GuestRun> run = mapping_->find_run(offset, to.size());
  if (!run) run = co_await mapping_->run_at(offset, to.size());
  if (run->length == to.size() && run->kind != RunKind::kCompressed) {
    co_await read_plain(*run, std::move(to));
  } else {
    co_await read_runs(*run, std::move(to));
  }
}

// REQUIRES: `to` has the run's length.
Task<void> Reader::read_plain(const GuestRun& run, ReadBuffers to) {
  if (run.kind == RunKind::kData) {
    Task<void> reading =
        read_zero_padded(&context_->data_device(), run.host_offset.value(), std::move(to));
    if (!context_->storage.data_events().has_listener()) return reading;
    return raise_and_do(context_->storage.data_events(), DebugEvent::kReadAio, std::move(reading));
  }
  if (run.kind == RunKind::kUnallocated && context_->backing() &&
      run.guest_offset < context_->vm_state_start()) {
    return read_backing(run.guest_offset, std::move(to));
  }
  to.fill_zero();
  return ready();
}

Task<void> Reader::read_backing(GuestOffset offset, ReadBuffers to) {
  if (context_->backing()) {
    Task<void> reading = read_zero_padded(context_->backing(), offset.value(), std::move(to));
    if (!context_->events().has_listener()) return reading;
    return raise_and_do(context_->events(), DebugEvent::kReadBackingAio, std::move(reading));
  }
  to.fill_zero();
  return ready();
}

// Reads several runs, of which `run` is the first, concurrently within bounds.
Task<void> Reader::read_runs(GuestRun run, ReadBuffers to) {
  const GuestOffset start = run.guest_offset;
  const GuestOffset end = start + to.size();
  std::vector<Task<void>> reads;
  std::vector<CompressedPiece> compressed;
  while (true) {
    GuestOffset next_offset = run.guest_offset + run.length;
    std::optional<GuestRun> next;
    while (next_offset < end) {
      next = mapping_->find_run(next_offset, end - next_offset);
      if (!next) next = co_await mapping_->run_at(next_offset, end - next_offset);
      if (!continues(run, *next)) break;
      run.length += next->length;
      next_offset += next->length;
      next.reset();
    }
    ReadBuffers part = to.slice(run.guest_offset - start, run.length);
    if (run.kind == RunKind::kCompressed) {
      compressed.push_back({run, std::move(part)});
    } else {
      reads.push_back(read_plain(run, std::move(part)));
    }
    if (compressed.size() == kCompressedMax || (!next && !compressed.empty())) {
      reads.push_back(compressed_->read(std::exchange(compressed, {})));
    }
    if (reads.size() >= kReadsMax || !next) {
      std::vector<Task<void>> batch = std::exchange(reads, {});
      co_await when_all(std::move(batch));
    }
    if (!next) co_return;
    run = *next;
  }
}

void Reader::drop_compressed(HostOffset host_offset, uint64_t length) {
  compressed_->drop(host_offset, length);
}

}  // namespace byre::qcow2
