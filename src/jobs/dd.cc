// SPDX-License-Identifier: Apache-2.0
#include "jobs/dd.h"

#include <algorithm>
#include <optional>
#include <string>

#include "async/turnstile.h"
#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/copy_failure.h"
#include "jobs/pipeline.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {
namespace {

// The block size determines what is copied, not in which units.
constexpr uint64_t kPieceSize = 512 * kKiB;
constexpr unsigned kInFlight = 4;

class Copy {
 public:
  struct Piece {
    uint64_t offset;
    uint64_t length;
    Turnstile::Ticket turn;
  };
  using Memory = PieceBuffer;

  Copy(BlockDevice& input, BlockDevice& output, DdPlan plan)
      : source_({&input}), output_(output), plan_(plan) {}

  static Memory make_memory() { return Memory(kPieceSize); }
  uint64_t position() const { return position_; }

  Task<std::optional<Piece>> next() {
    std::optional<Piece> piece;
    if (position_ == plan_.length) co_return piece;
    const uint64_t length = std::min(plan_.length - position_, kPieceSize);
    piece = Piece{position_, length, write_order_.take()};
    position_ += length;
    co_return piece;
  }

  Task<void> process(Piece& piece, Memory& memory) {
    const Bytes bytes = memory.get(piece.length);
    const uint64_t from = plan_.input_offset + piece.offset;
    try {
      co_await source_.read(from, bytes);
    } catch (const Error& error) {
      throw failure_at({.code = "dd-read-failed", .offset = from}, "cannot read from", error);
    }
    // The clusters of a new image are in the order of the disk.
    co_await piece.turn.turn();
    try {
      co_await output_.write(piece.offset, WriteBuffers(bytes), WriteFlags::kNone);
    } catch (const Error& error) {
      throw failure_at({.code = "dd-write-failed", .offset = piece.offset}, "cannot write to",
                       error);
    }
  }

 private:
  SourceSequence source_;
  BlockDevice& output_;
  const DdPlan plan_;
  uint64_t position_ = 0;
  Turnstile write_order_;
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
  Copy copy(input, output, plan);
  Pipeline<Copy> pipeline(&copy, kInFlight, cancellation);
  co_await pipeline.run();
  pipeline.failure().rethrow();
  co_await output.flush();
}

}  // namespace byre::jobs
