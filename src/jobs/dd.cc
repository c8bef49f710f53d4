// SPDX-License-Identifier: Apache-2.0
#include "jobs/dd.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "async/turnstile.h"
#include "async/when_all.h"
#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "byre/error.h"
#include "jobs/copy_failure.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {
namespace {

// The block size determines what is copied, not in which units.
constexpr uint64_t kBufferSize = 2 * kMiB;
constexpr unsigned kInFlight = 4;

class Copy {
 public:
  Copy(BlockDevice& input, BlockDevice& output, DdPlan plan, const Cancellation* cancellation)
      : source_({&input}), output_(output), plan_(plan), cancellation_(cancellation) {}

  Task<void> run() {
    std::vector<Task<void>> workers;
    for (unsigned i = 0; i < kInFlight; ++i) workers.push_back(work());
    co_await when_all(std::move(workers));
    failure_.rethrow();
    co_await output_.flush();
  }

 private:
  Task<void> work() {
    Buffer buffer;
    while (position_ < plan_.length && !failure_.is_set()) {
      const uint64_t offset = position_;
      const uint64_t length = std::min(plan_.length - offset, kBufferSize);
      position_ += length;
      Turnstile::Ticket ticket = write_order_.take();
      try {
        if (cancellation_ != nullptr) cancellation_->check();
        if (buffer.size() == 0) buffer = Buffer(kBufferSize);
        co_await copy(std::move(ticket), offset, buffer.bytes(0, length));
      } catch (...) {
        failure_.note(offset, std::current_exception());
      }
    }
  }

  Task<void> copy(Turnstile::Ticket ticket, uint64_t offset, Bytes buffer) {
    try {
      co_await source_.read(plan_.input_offset + offset, buffer);
    } catch (const Error& error) {
      throw failure_at({.code = "dd-read-failed", .offset = plan_.input_offset + offset},
                       "cannot read from", error);
    }
    // The clusters of a new image are in the order of the disk.
    co_await ticket.turn();
    try {
      co_await output_.write(offset, WriteBuffers(buffer), WriteFlags::kNone);
    } catch (const Error& error) {
      throw failure_at({.code = "dd-write-failed", .offset = offset}, "cannot write to", error);
    }
  }

  SourceSequence source_;
  BlockDevice& output_;
  const DdPlan plan_;
  const Cancellation* const cancellation_;
  uint64_t position_ = 0;
  Turnstile write_order_;
  CopyFailure failure_;
};

}  // namespace

DdPlan plan_dd(const DdRange& range, uint64_t input_size) {
  BYRE_ASSERT(range.block_size != 0);
  const uint64_t size = align_up(input_size, kSectorSize);
  uint64_t end = size;
  if (range.count.has_value()) {
    const std::optional<uint64_t> asked = checked_mul(*range.count, range.block_size);
    end = std::min(end, asked.value_or(UINT64_MAX));
  }
  DdPlan plan;
  const std::optional<uint64_t> skipped = checked_mul(range.skip, range.block_size);
  plan.can_skip = skipped.has_value() && *skipped <= end;
  if (!plan.can_skip) return plan;
  plan.input_offset = *skipped;
  plan.length = end - *skipped;
  return plan;
}

Task<void> dd(BlockDevice& input, BlockDevice& output, DdPlan plan,
              const Cancellation* cancellation) {
  Copy copy(input, output, plan, cancellation);
  co_await copy.run();
}

}  // namespace byre::jobs
