// SPDX-License-Identifier: Apache-2.0
#include "jobs/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "async/loop.h"
#include "byre/error.h"

namespace byre::jobs {
namespace {

using testing::UnorderedElementsAre;

Error failure(uint64_t offset) {
  return Error(ErrorKind::kIo, EIO, ErrorData{.code = "test-failed", .offset = offset}, "failed");
}

// Pieces of 10 bytes that take a few turns, each in a buffer of its own.
class Job {
 public:
  struct Piece {
    uint64_t offset;
  };
  using Memory = PieceBuffer;

  explicit Job(uint64_t size) : size_(size) {}

  static Memory make_memory() { return Memory(10); }
  uint64_t position() const { return position_; }

  Task<std::optional<Piece>> next() {
    std::optional<Piece> piece;
    EXPECT_FALSE(std::exchange(is_in_next_, true));
    co_await Loop::current().yield();
    is_in_next_ = false;
    if (position_ == end_of_pieces) throw failure(position_);
    if (position_ == size_) co_return piece;
    piece = Piece{position_};
    position_ += 10;
    co_return piece;
  }

  Task<void> process(Piece& piece, Memory& memory) {
    const Bytes bytes = memory.get(10);
    EXPECT_TRUE(in_use.insert(bytes.data()).second);
    in_flight_max = std::max(in_flight_max, in_use.size());
    // Later pieces end first.
    for (uint64_t i = piece.offset; i < size_; ++i) co_await Loop::current().yield();
    in_use.erase(bytes.data());
    processed.push_back(piece.offset);
    if (failing.contains(piece.offset)) throw failure(piece.offset);
  }

  uint64_t end_of_pieces = UINT64_MAX;
  std::set<uint64_t> failing;
  std::vector<uint64_t> processed;
  std::set<const uint8_t*> in_use;
  size_t in_flight_max = 0;

 private:
  const uint64_t size_;
  uint64_t position_ = 0;
  bool is_in_next_ = false;
};

// The offset of the failure; nothing if there is none.
std::optional<uint64_t> run(Job& job, unsigned in_flight,
                            const Cancellation* cancellation = nullptr) {
  Pipeline<Job> pipeline(&job, in_flight, cancellation);
  sync_wait(pipeline.run());
  try {
    pipeline.failure().rethrow();
  } catch (const Error& error) {
    return error.data().offset.value_or(UINT64_MAX);
  }
  return std::nullopt;
}

TEST(Pipeline, EachPieceIsProcessedOnceAndOnlySoManyAreInFlight) {
  for (const unsigned in_flight : {0u, 1u, 3u, 100u}) {
    Job job(70);
    EXPECT_EQ(run(job, in_flight), std::nullopt);
    EXPECT_THAT(job.processed, UnorderedElementsAre(0, 10, 20, 30, 40, 50, 60));
    EXPECT_EQ(job.in_flight_max, std::clamp(in_flight, 1u, 7u));
  }
}

TEST(Pipeline, NothingIsAlsoAJob) {
  Job job(0);
  EXPECT_EQ(run(job, 4), std::nullopt);
  EXPECT_TRUE(job.processed.empty());
}

TEST(Pipeline, OfSeveralFailuresTheLowestIsKeptAndNoMorePiecesAreTaken) {
  Job job(200);
  job.failing = {10, 20};  // the second ends first
  EXPECT_EQ(run(job, 3), 10u);
  EXPECT_THAT(job.processed, UnorderedElementsAre(0, 10, 20));
}

TEST(Pipeline, AFailureToFindTheNextPieceComesAfterThePiecesBeforeIt) {
  Job job(200);
  job.end_of_pieces = 30;
  EXPECT_EQ(run(job, 4), 30u);
  EXPECT_THAT(job.processed, UnorderedElementsAre(0, 10, 20));
  Job failing_before(200);
  failing_before.end_of_pieces = 30;
  failing_before.failing = {20};
  EXPECT_EQ(run(failing_before, 4), 20u);
}

TEST(Pipeline, ARequestToCancelIsAFailure) {
  Cancellation cancellation;
  cancellation.request();
  Job job(200);
  EXPECT_EQ(run(job, 4, &cancellation), UINT64_MAX);
  EXPECT_TRUE(job.processed.empty());
}

}  // namespace
}  // namespace byre::jobs
