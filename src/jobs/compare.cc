// SPDX-License-Identifier: Apache-2.0
#include "jobs/compare.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "async/when_all.h"
#include "base/units.h"
#include "jobs/copy_failure.h"
#include "jobs/extent_cursor.h"
#include "jobs/ordered_progress.h"
#include "jobs/pipeline.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {
namespace {

// Messages about failed reads name the start of a chunk of this size, as QEMU's do; the pieces that
// are compared at a time are so small that both buffers stay in the processor's cache.
constexpr uint64_t kChunkSize = 2 * kMiB;
constexpr uint64_t kPieceSize = 256 * kKiB;

// The first sector in which the two differ; nothing if none does.
std::optional<uint64_t> first_difference(ConstBytes a, ConstBytes b) {
  BYRE_ASSERT(a.size() == b.size());
  if (std::memcmp(a.data(), b.data(), a.size()) == 0) return std::nullopt;
  size_t at = 0;
  while (at < a.size()) {
    const size_t length = std::min<size_t>(kSectorSize, a.size() - at);
    if (std::memcmp(a.data() + at, b.data() + at, length) != 0) break;
    at += length;
  }
  return at;
}

std::optional<uint64_t> first_nonzero(ConstBytes bytes) {
  if (is_all_zero(bytes)) return std::nullopt;
  size_t at = 0;
  while (is_all_zero(bytes.subspan(at, std::min<size_t>(kSectorSize, bytes.size() - at)))) {
    at += kSectorSize;
  }
  return at;
}

struct Side {
  Side(BlockDevice& d) : device(d), source({&d}), cursor(source) {}  // NOLINT

  BlockDevice& device;
  SourceSequence source;
  ExtentCursor cursor;
};

bool reads_as_zero(const Extent& extent) {
  return extent.zero || !extent.present;
}

bool same_state(const Extent& a, const Extent& b) {
  return a.present == b.present && a.data == b.data && a.zero == b.zero &&
         a.compressed == b.compressed && a.host_offset.has_value() == b.host_offset.has_value();
}

class Comparison {
 public:
  Comparison(BlockDevice& first, BlockDevice& second, CompareOptions options, Progress* progress,
             const Cancellation* cancellation)
      : sides_{Side(first), Side(second)},
        options_(std::move(options)),
        cancellation_(cancellation),
        common_size_(std::min(sides_[0].source.size(), sides_[1].source.size())),
        total_size_(std::max(sides_[0].source.size(), sides_[1].source.size())),
        progress_(progress, total_size_) {}

  Task<CompareResult> run() {
    if (options_.strict && common_size_ != total_size_) {
      co_return CompareResult{CompareResult::Kind::kSizeDiffers, 0};
    }
    Pipeline<Comparison> pipeline(this, options_.in_flight, cancellation_);
    end_ = common_size_;
    co_await pipeline.run();
    if (!found_.has_value() && common_size_ != total_size_) {
      pipeline.failure().rethrow();
      if (options_.on_size_difference) options_.on_size_difference();
      end_ = total_size_;
      co_await pipeline.run();
    }
    // A failure after the first difference does not count.
    const bool failed_first = found_.has_value() && pipeline.failure().is_before(found_->offset);
    if (!found_.has_value() || failed_first) pipeline.failure().rethrow();
    if (found_.has_value()) co_return *found_;
    co_return CompareResult{};
  }

  // A range in which neither image changes its state.
  struct Chunk {
    uint64_t offset = 0;
    uint64_t length = 0;
    bool read[2] = {false, false};
  };
  struct Piece {
    uint64_t number;
    uint64_t offset;
    uint64_t length;
    Chunk chunk;  // that contains it
  };
  struct Memory {
    PieceBuffer of_side[2];
  };

  static Memory make_memory() { return {{PieceBuffer(kPieceSize), PieceBuffer(kPieceSize)}}; }
  uint64_t position() const { return position_; }

  Task<std::optional<Piece>> next() {
    std::optional<Piece> piece;
    if (found_.has_value()) co_return piece;
    if (taken_ == position_ && position_ != end_) co_await look();
    if (taken_ == position_) co_return piece;
    uint64_t length = position_ - taken_;
    if (chunk_.read[0] || chunk_.read[1]) length = std::min(length, kPieceSize);
    piece = Piece{next_number_++, taken_, length, chunk_};
    taken_ += length;
    co_return piece;
  }

  Task<void> process(Piece& piece, Memory& memory) {
    Bytes bytes[2];
    std::vector<Task<void>> reads;
    for (int i = 0; i < 2; ++i) {
      if (!piece.chunk.read[i]) continue;
      bytes[i] = memory.of_side[i].get(piece.length);
      reads.push_back(read(sides_[i], piece, bytes[i]));
    }
    co_await when_all(std::move(reads));
    check(piece, bytes[0], bytes[1]);
  }

 private:
  // The bytes of a side that was not read are empty, and zero in the image.
  void check(const Piece& piece, ConstBytes first, ConstBytes second) {
    std::optional<uint64_t> difference;
    if (!first.empty() && !second.empty()) {
      difference = first_difference(first, second);
    } else {
      difference = first_nonzero(first.empty() ? second : first);
    }
    if (difference.has_value()) {
      note({CompareResult::Kind::kContentDiffers, piece.offset + *difference});
    } else {
      progress_.done(piece.number, piece.length);
    }
  }

  void note(CompareResult result) {
    if (!found_.has_value() || result.offset < found_->offset) found_ = result;
  }

  static Task<void> read(Side& side, const Piece& piece, Bytes to) {
    try {
      co_await side.source.read(piece.offset, to);
    } catch (const Error& error) {
      throw CompareError(CompareError::Stage::kRead, failure_at({.code = "compare-read-failed",
                                                                 .offset = piece.chunk.offset,
                                                                 .file = side.device.filename()},
                                                                "cannot read from", error));
    }
  }

  static Task<Extent> extent_at(Side& side, uint64_t offset) {
    Extent extent;
    try {
      extent = co_await side.cursor.at(offset);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled) throw;
      throw CompareError(CompareError::Stage::kExtents,
                         failure_at({.code = "compare-extents-unreadable",
                                     .offset = offset,
                                     .file = side.device.filename()},
                                    "cannot see what the image has at", error));
    }
    co_return extent;
  }

  // In QEMU "the last of the image" is part of a state: if one image stays the same from here to
  // its end and the other does not, the difference is here and not where the other one changes.
  Task<bool> same_states_from_here(Extent first, Extent second) {
    if (!same_state(first, second)) co_return false;
    const bool first_is_last = first.offset + first.length == total_size_;
    const bool second_is_last = second.offset + second.length == total_size_;
    if (first_is_last == second_is_last || is_tail_known_) co_return true;
    is_tail_known_ = true;
    Side& other = sides_[first_is_last ? 1 : 0];
    ExtentCursor cursor(other.source);
    uint64_t at = position_;
    while (at < total_size_) {
      const Extent next = co_await cursor.at(at);
      if (!same_state(first, next)) co_return false;
      at += next.length;
    }
    co_return true;
  }

  // Makes chunk_ the next one. In strict mode a difference of states ends the comparison here.
  Task<void> look() {
    Chunk chunk{position_, end_ - position_};
    std::optional<Extent> extents[2];
    for (int i = 0; i < 2; ++i) {
      if (position_ >= sides_[i].source.size()) continue;
      extents[i] = co_await extent_at(sides_[i], position_);
      chunk.length = std::min(chunk.length, extents[i]->length);
      chunk.read[i] = !reads_as_zero(*extents[i]);
    }
    if (options_.strict) {
      const bool same = co_await same_states_from_here(*extents[0], *extents[1]);
      if (!same) {
        note({CompareResult::Kind::kStateDiffers, position_});
        co_return;
      }
    }
    if (chunk.read[0] || chunk.read[1]) chunk.length = std::min(chunk.length, kChunkSize);
    chunk_ = chunk;
    position_ += chunk.length;
  }

  Side sides_[2];
  const CompareOptions options_;
  const Cancellation* const cancellation_;
  const uint64_t common_size_;
  const uint64_t total_size_;

  Chunk chunk_;            // the last one
  uint64_t position_ = 0;  // its end
  uint64_t taken_ = 0;     // everything before it is done or in progress
  uint64_t end_ = 0;
  uint64_t next_number_ = 0;
  bool is_tail_known_ = false;
  std::optional<CompareResult> found_;
  OrderedProgress progress_;
};

}  // namespace

Task<CompareResult> compare(BlockDevice& first, BlockDevice& second, CompareOptions options,
                            Progress* progress, const Cancellation* cancellation) {
  Comparison comparison(first, second, std::move(options), progress, cancellation);
  const CompareResult result = co_await comparison.run();
  co_return result;
}

}  // namespace byre::jobs
