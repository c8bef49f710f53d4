// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "async/turnstile.h"
#include "async/when_all.h"
#include "base/checked.h"
#include "base/units.h"
#include "jobs/copy_failure.h"
#include "jobs/copy_offload.h"
#include "jobs/ordered_progress.h"
#include "jobs/pipeline.h"
#include "jobs/rate_limit.h"
#include "jobs/segment_reader.h"
#include "jobs/segment_walker.h"
#include "jobs/source_sequence.h"
#include "jobs/zero_runs.h"

// How a conversion works:
//
// - One SegmentWalker cuts the source into segments, and data segments are cut into pieces that
//   stay in the processor's cache between read and write. A Pipeline takes them in order, each with
//   its own tickets and buffer. Messages name segments, as QEMU's do.
// - If the order of writes matters, a Turnstile lets tickets pass in order; another one knows up to
//   which ticket all writes have ended. A ticket that is destroyed counts as passed, whether or not
//   its read or write failed.
// - A target that allocates clusters in the order of the requests receives compressed clusters in
//   the order of their offsets. A request for zeroes may need to allocate, too, so it waits for all
//   requests before it, and none begins until it has ended.
// - After a failure, what is above the failed piece is not written any more.
namespace byre::jobs {
namespace {

constexpr uint64_t kSegmentSize = 2 * kMiB;
constexpr uint64_t kPieceSize = 512 * kKiB;
// The disk begins to write when there is as much for it, while the copy goes on.
constexpr uint64_t kStartFlushMin = 8 * kMiB;

class Conversion {
 public:
  Conversion(std::vector<BlockDevice*> sources, BlockDevice& target, ConvertOptions options,
             Progress* progress, const Cancellation* cancellation)
      : source_(std::move(sources)),
        target_(target),
        options_(std::move(options)),
        cancellation_(cancellation),
        cluster_size_(options_.compressed ? target.limits().compressed_write_size : 0),
        segment_size_(std::max<uint64_t>(kSegmentSize, cluster_size_)),
        piece_size_(piece_size(options_, segment_size_)),
        sparse_rule_(sparse_rule(options_.sparse_size, target.limits().request_alignment)),
        reader_(source_, options_, cancellation),
        offload_(source_, target),
        walker_(source_, rules()),
        pipeline_(this, options_.in_flight, cancellation),
        rate_limit_(options_.bytes_per_second, cancellation),
        counts_work_(progress != nullptr && progress->is_watched()),
        progress_(progress, source_.size()) {}

  Task<void> run() {
    if (counts_work_ || options_.salvage) co_await count_work();
    co_await pipeline_.run();
    pipeline_.failure().rethrow();
    if (cancellation_ != nullptr) cancellation_->check();
    co_await target_.flush();
    progress_.finish();
  }

  struct Piece : Segment {
    Segment segment;  // that contains it
    Turnstile::Ticket start;
    Turnstile::Ticket end;
  };
  struct Memory {
    PieceBuffer bytes;
    PieceBuffer kept;
  };

  Memory make_memory() const { return {PieceBuffer(piece_size_), PieceBuffer(piece_size_)}; }
  uint64_t position() const { return walker_.position(); }

  Task<std::optional<Piece>> next() {
    std::optional<Piece> piece;
    if (is_at_end_) co_return piece;
    if (rest_.length == 0) {
      const std::optional<Segment> segment = co_await next_segment(walker_);
      is_at_end_ = !segment.has_value();
      if (is_at_end_) co_return piece;
      segment_ = rest_ = *segment;
    }
    Segment part = rest_;
    if (part.kind == Segment::Kind::kData) part.length = std::min(part.length, piece_size_);
    rest_.offset += part.length;
    rest_.length -= part.length;
    piece = Piece{part, segment_, starts_.take(), ends_.take()};
    co_return piece;
  }

  Task<void> process(Piece& piece, Memory& memory) {
    const bool is_data = piece.kind == Segment::Kind::kData;
    bool is_copied = false;
    if (is_data) is_copied = co_await copy_inside_host(piece);
    const Bytes bytes = memory.bytes.get(is_data && !is_copied ? piece.length : 0);
    const Bytes kept = memory.kept.get(length_kept(piece));
    if (!bytes.empty()) co_await read(piece, bytes, kept);
    if (options_.write_order != WriteOrder::kAny) co_await piece.start.turn();
    if (pipeline_.failure().is_before(piece.offset)) co_return;
    try {
      if (!is_copied) co_await write(piece, bytes, kept);
    } catch (const Error& error) {
      throw write_failure(piece.segment.offset, error);
    }
    progress_.done(piece.start.number(), work_in(piece));
    if (is_data) unflushed_ += piece.length;
    if (unflushed_ < kStartFlushMin) co_return;
    // The next pieces need not wait for it.
    piece.start.pass();
    piece.end.pass();
    co_await start_flush();
  }

 private:
  // Compression needs many clusters at once, copies inside the host need long ranges, and zeroes
  // can only be detected in pieces at least as long as the shortest run that counts.
  static uint64_t piece_size(const ConvertOptions& options, uint64_t segment_size) {
    const bool is_whole = options.compressed || options.copy_range ||
                          options.sparse_size > kPieceSize || options.kept_unit > kPieceSize;
    return is_whole ? segment_size : kPieceSize;
  }

  SegmentWalker::Rules rules() const {
    SegmentWalker::Rules rules;
    rules.data_length_max = segment_size_;
    rules.cluster_size = std::max(cluster_size_, options_.kept_unit);
    rules.top_layer_only = options_.top_layer_only;
    rules.layers = options_.layers;
    rules.source_backing_size = options_.source_backing_size;
    rules.backing_size = options_.backing_size;
    rules.zero_is_data = options_.sparse_size == 0 || options_.kept_unit != 0;
    rules.salvage = options_.salvage;
    rules.on_unknown = options_.on_unknown_state;
    return rules;
  }

  // The work that progress counts: data, and zeroes that need a request, or, where nobody watches,
  // how far the copy has come.
  uint64_t work_in(const Segment& segment) const {
    if (!counts_work_) return segment.length;
    const bool counts = segment.kind == Segment::Kind::kData ||
                        (segment.kind == Segment::Kind::kZero && !options_.target_is_zero);
    return counts ? segment.length : 0;
  }

  Task<void> count_work() {
    SegmentWalker walker(source_, rules());
    uint64_t total = 0;
    while (true) {
      if (cancellation_ != nullptr) cancellation_->check();
      const std::optional<Segment> segment = co_await next_segment(walker);
      if (!segment.has_value()) break;
      total += work_in(*segment);
    }
    if (counts_work_) progress_.set_total(total);
  }

  static Task<std::optional<Segment>> next_segment(SegmentWalker& walker) {
    std::optional<Segment> segment;
    try {
      segment = co_await walker.next();
    } catch (const Error& error) {
      throw failure_at({.code = "convert-extents-unreadable", .offset = walker.position()},
                       "cannot see what the source has at", error);
    }
    co_return segment;
  }

  Task<void> start_flush() {
    unflushed_ = 0;
    co_await target_.start_flush();
  }

  static Error write_failure(uint64_t offset, const Error& error) {
    return failure_at({.code = "convert-write-failed", .offset = offset}, "cannot write to", error);
  }

  Task<bool> copy_inside_host(const Segment& segment) {
    if (!options_.copy_range) co_return false;
    bool is_copied = false;
    try {
      co_await rate_limit_.take(segment.length);
      is_copied = co_await offload_.copy(segment.offset, segment.length);
    } catch (const Error& error) {
      throw write_failure(segment.offset, error);
    }
    co_return is_copied;
  }

  // How much of a piece is compared with what the target reads as anyway.
  uint64_t length_kept(const Segment& piece) const {
    const uint64_t end = options_.kept == nullptr ? 0 : options_.kept->size();
    const bool is_compared = piece.kind == Segment::Kind::kData && piece.offset < end;
    return is_compared ? std::min(piece.length, end - piece.offset) : 0;
  }

  Task<void> read(const Piece& piece, Bytes to, Bytes kept) {
    std::vector<Task<void>> reads;
    reads.push_back(reader_.read(piece.segment, piece.offset, to));
    if (!kept.empty()) reads.push_back(read_kept(piece.offset, kept));
    co_await when_all(std::move(reads));
  }

  Task<void> read_kept(uint64_t offset, Bytes to) {
    try {
      const ReadBuffers buffers(to);
      co_await options_.kept->read(offset, buffers);
    } catch (const Error& error) {
      throw failure_at({.code = "convert-kept-unreadable", .offset = offset}, "cannot read from",
                       error);
    }
  }

  Task<void> write(Piece& piece, ConstBytes bytes, ConstBytes kept) {
    if (options_.compressed) {
      co_await write_clusters(piece, bytes, kept);
      co_return;
    }
    if (options_.write_order == WriteOrder::kStarted) piece.start.pass();
    if (piece.kind == Segment::Kind::kZero) co_await write_zeroes(piece.offset, piece.length);
    if (piece.kind == Segment::Kind::kData) co_await write_runs(piece.offset, bytes, kept);
  }

  Task<void> write_zeroes(uint64_t offset, uint64_t length) {
    if (options_.target_is_zero) co_return;
    co_await target_.write_zeroes(offset, length, WriteFlags::kMayUnmap);
  }

  // Without zero clusters, a request for zeroes may leave them to the backing file that the target
  // has now: they are data.
  std::vector<ZeroRun> differences(ConstBytes bytes, ConstBytes kept, uint64_t unit) const {
    std::vector<ZeroRun> runs = difference_runs(bytes, kept, unit);
    if (target_.limits().can_write_zeroes_unmapped) return runs;
    for (ZeroRun& run : runs) run.is_zero = false;
    return runs;
  }

  Task<void> write_runs(uint64_t offset, ConstBytes bytes, ConstBytes kept) {
    const std::vector<ZeroRun> runs = options_.kept_unit != 0
                                          ? differences(bytes, kept, options_.kept_unit)
                                          : zero_runs(bytes, offset, sparse_rule_);
    for (const ZeroRun& run : runs) {
      if (run.is_zero) {
        co_await write_zeroes(offset, run.length);
      } else if (!run.is_kept) {
        co_await rate_limit_.take(run.length);
        co_await target_.write(offset, WriteBuffers(bytes.first(run.length)), WriteFlags::kNone);
      }
      offset += run.length;
      bytes = bytes.subspan(run.length);
    }
  }

  // Runs of whole clusters that are all zeroes, and others.
  std::vector<ZeroRun> cluster_runs(const Segment& piece, ConstBytes bytes, ConstBytes kept) const {
    if (options_.kept_unit != 0 && piece.kind == Segment::Kind::kData) {
      return differences(bytes, kept, cluster_size_);
    }
    if (piece.kind == Segment::Kind::kBacking) return {};
    if (piece.kind == Segment::Kind::kZero) return {{.length = piece.length, .is_zero = true}};
    std::vector<ZeroRun> runs;
    while (!bytes.empty()) {
      const ConstBytes cluster = bytes.first(std::min<size_t>(bytes.size(), cluster_size_));
      const bool is_zero = options_.sparse_size != 0 && is_all_zero(cluster);
      if (runs.empty() || runs.back().is_zero != is_zero) runs.push_back({.is_zero = is_zero});
      runs.back().length += cluster.size();
      bytes = bytes.subspan(cluster.size());
    }
    return runs;
  }

  Task<void> write_clusters(Piece& piece, ConstBytes bytes, ConstBytes kept) {
    const std::vector<ZeroRun> runs = cluster_runs(piece, bytes, kept);
    uint64_t data_length = 0;
    bool has_zeroes = false;
    for (const ZeroRun& run : runs) {
      data_length += run.is_zero || run.is_kept ? 0 : run.length;
      has_zeroes |= run.is_zero;
    }
    co_await rate_limit_.take(data_length);
    const bool is_one_by_one =
        options_.write_order == WriteOrder::kOneByOne || (has_zeroes && !options_.target_is_zero);
    if (options_.write_order != WriteOrder::kAny) {
      if (is_one_by_one) {
        co_await piece.end.turn();
      } else {
        piece.start.pass();
      }
    }
    // From here to the last cluster nothing else runs, unless there are zeroes to write.
    std::vector<Task<void>> clusters;
    uint64_t offset = piece.offset;
    for (const ZeroRun& run : runs) {
      if (run.is_zero && !options_.target_is_zero) {
        std::vector<Task<void>> before = std::exchange(clusters, {});
        co_await when_all(std::move(before));
        co_await write_zeroes(offset, run.length);
      }
      const bool is_data = !run.is_zero && !run.is_kept;
      const ConstBytes own = is_data ? bytes.first(run.length) : ConstBytes();
      add_clusters(offset, own, clusters);
      offset += run.length;
      bytes = bytes.subspan(std::min<size_t>(bytes.size(), run.length));
    }
    co_await when_all(std::move(clusters));
  }

  // The device compresses them on as many cores as there are.
  void add_clusters(uint64_t offset, ConstBytes bytes, std::vector<Task<void>>& clusters) {
    while (!bytes.empty()) {
      const ConstBytes cluster = bytes.first(std::min<size_t>(bytes.size(), cluster_size_));
      clusters.push_back(target_.write(offset, WriteBuffers(cluster), WriteFlags::kCompressed));
      offset += cluster.size();
      bytes = bytes.subspan(cluster.size());
    }
  }

  SourceSequence source_;
  BlockDevice& target_;
  ConvertOptions options_;
  const Cancellation* const cancellation_;
  const uint64_t cluster_size_;
  const uint64_t segment_size_;
  const uint64_t piece_size_;
  const SparseRule sparse_rule_;

  SegmentReader reader_;
  CopyOffload offload_;
  SegmentWalker walker_;
  Segment segment_;  // the walker's last one, and how much of it is left
  Segment rest_;
  bool is_at_end_ = false;
  Turnstile starts_;
  Turnstile ends_;
  Pipeline<Conversion> pipeline_;
  RateLimit rate_limit_;
  uint64_t unflushed_ = 0;  // bytes of data since start_flush()
  const bool counts_work_;
  OrderedProgress progress_;
};

}  // namespace

Task<void> convert(std::vector<BlockDevice*> sources, BlockDevice& target, ConvertOptions options,
                   Progress* progress, const Cancellation* cancellation) {
  Conversion conversion(std::move(sources), target, std::move(options), progress, cancellation);
  co_await conversion.run();
}

}  // namespace byre::jobs
