// SPDX-License-Identifier: Apache-2.0
#include "async/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "async/when_all.h"
#include "async/worker_pool.h"

namespace byre {
namespace {

class RingTest : public testing::Test {
 protected:
  void SetUp() override {
    if (Ring::of(loop_) == nullptr)
      GTEST_SKIP() << "the host refuses io_uring: " << Ring::refusal();
    std::string name = "byre-ring-XXXXXX";
    fd_ = mkostemp(name.data(), O_CLOEXEC);
    ASSERT_GE(fd_, 0);
    unlink(name.c_str());
  }
  ~RingTest() override {
    if (fd_ >= 0) ::close(fd_);
  }
  Loop loop_;
  int fd_ = -1;
};

Task<void> write_number(int fd, uint64_t number, int* wrong) {
  Ring* const ring = Ring::of(Loop::current());
  const iovec from{&number, sizeof number};
  const int64_t written = co_await ring->writev(fd, &from, 1, number * sizeof number, 0);
  if (written != sizeof number) ++*wrong;
  uint64_t back = ~number;
  const iovec to{&back, sizeof back};
  const int64_t read = co_await ring->readv(fd, &to, 1, number * sizeof number, 0);
  if (read != sizeof number || back != number) ++*wrong;
}

TEST_F(RingTest, TakesMoreAtOnceThanItHasEntries) {
  int wrong = 0;
  std::vector<Task<void>> tasks;
  for (uint64_t number = 0; number < 2000; ++number)
    tasks.push_back(write_number(fd_, number, &wrong));
  loop_.run(when_all(std::move(tasks)));
  EXPECT_EQ(wrong, 0);
}

Task<int64_t> read_from(int fd) {
  Ring* const ring = Ring::of(Loop::current());
  uint8_t space[16];
  const iovec to{space, sizeof space};
  const int64_t result = co_await ring->readv(fd, &to, 1, 0, 0);
  co_return result;
}

Task<int64_t> sync(int fd) {
  Ring* const ring = Ring::of(Loop::current());
  const int64_t result = co_await ring->sync_data(fd);
  co_return result;
}

Task<int64_t> start_sync(int fd) {
  Ring* const ring = Ring::of(Loop::current());
  const int64_t result = co_await ring->start_sync(fd);
  co_return result;
}

TEST_F(RingTest, GivesWhatTheSystemCallWouldGive) {
  EXPECT_EQ(loop_.run(read_from(-1)), -EBADF);
  EXPECT_EQ(loop_.run(read_from(fd_)), 0);
  ASSERT_EQ(pwrite(fd_, "byre", 4, 0), 4);
  EXPECT_EQ(loop_.run(read_from(fd_)), 4);
  EXPECT_EQ(loop_.run(sync(fd_)), 0);
  EXPECT_EQ(loop_.run(sync(-1)), -EBADF);
  EXPECT_EQ(loop_.run(start_sync(fd_)), 0);
  EXPECT_EQ(loop_.run(start_sync(-1)), -EBADF);
}

Task<void> on_worker(int* total) {
  const int one = co_await WorkerPool::shared().run([] { return 1; });
  *total += one;
}

Task<void> workers_and_ring(int fd, int rounds, int* wrong, int* total) {
  for (int round = 0; round < rounds; ++round) {
    std::vector<Task<void>> tasks;
    tasks.push_back(on_worker(total));
    tasks.push_back(write_number(fd, static_cast<uint64_t>(round), wrong));
    tasks.push_back(on_worker(total));
    co_await when_all(std::move(tasks));
    co_await on_worker(total);
  }
}

TEST_F(RingTest, ALoopThatSleepsInItIsWokenByWorkers) {
  int wrong = 0;
  int total = 0;
  loop_.run(workers_and_ring(fd_, 300, &wrong, &total));
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(total, 900);
}

Task<void> sleep_beside(int fd, int* wrong) {
  std::vector<Task<void>> tasks;
  for (uint64_t i = 0; i < 10; ++i) tasks.push_back(write_number(fd, i, wrong));
  co_await Loop::current().sleep_for(std::chrono::milliseconds(2));
  co_await when_all(std::move(tasks));
}

TEST_F(RingTest, TimersGoOnBesideIt) {
  int wrong = 0;
  loop_.run(sleep_beside(fd_, &wrong));
  EXPECT_EQ(wrong, 0);
}

TEST(Ring, IsNotForSimulatedLoops) {
  Loop loop({.seed = 1});
  EXPECT_EQ(Ring::of(loop), nullptr);
}

TEST(Ring, IsOneForALoop) {
  Loop loop;
  EXPECT_EQ(Ring::of(loop), Ring::of(loop));
  EXPECT_EQ(Ring::of(loop), loop.event_source());
}

}  // namespace
}  // namespace byre
