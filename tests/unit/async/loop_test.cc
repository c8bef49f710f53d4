// SPDX-License-Identifier: Apache-2.0
#include "async/loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "async/gate.h"
#include "async/mutex.h"
#include "async/range_lock.h"
#include "async/when_all.h"
#include "async/worker_pool.h"

namespace byre {
namespace {

Task<int> answer() {
  co_return 42;
}

Task<int> doubled() {
  const int value = co_await answer();
  co_return 2 * value;
}

Task<void> fail() {
  co_await Loop::current().yield();
  throw std::runtime_error("no");
}

Task<void> note_turns(std::vector<int>* order, int name, int turns) {
  for (int i = 0; i < turns; ++i) {
    order->push_back(name);
    co_await Loop::current().yield();
  }
}

Task<void> three_at_once(std::vector<int>* order) {
  std::vector<Task<void>> tasks;
  for (int name = 0; name < 3; ++name) tasks.push_back(note_turns(order, name, 4));
  co_await when_all(std::move(tasks));
}

TEST(Loop, ATaskGivesItsValueThroughAnyDepth) {
  EXPECT_EQ(sync_wait(doubled()), 84);
}

TEST(Loop, AnErrorReachesWhoWaits) {
  EXPECT_THROW(sync_wait(fail()), std::runtime_error);
}

TEST(Loop, TasksInterleaveAtAwaits) {
  std::vector<int> order;
  sync_wait(three_at_once(&order));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

std::vector<int> order_with_seed(uint64_t seed) {
  std::vector<int> order;
  Loop loop({.seed = seed});
  loop.run(three_at_once(&order));
  return order;
}

TEST(Loop, TheSameSeedGivesTheSameOrderAndAnotherSeedAnother) {
  EXPECT_EQ(order_with_seed(1), order_with_seed(1));
  bool any_other = false;
  for (uint64_t seed = 2; seed < 10; ++seed) {
    any_other = any_other || order_with_seed(seed) != order_with_seed(1);
  }
  EXPECT_TRUE(any_other);
}

Task<void> sleep_then_note(std::vector<int>* order, int hours) {
  co_await Loop::current().sleep_for(std::chrono::hours(hours));
  order->push_back(hours);
}

Task<void> sleepers(std::vector<int>* order) {
  std::vector<Task<void>> tasks;
  for (int hours : {3, 1, 2}) tasks.push_back(sleep_then_note(order, hours));
  co_await when_all(std::move(tasks));
}

TEST(Loop, SimulatedTimeJumpsToTheNextTimer) {
  std::vector<int> order;
  Loop loop({.seed = 7});
  loop.run(sleepers(&order));
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(WhenAll, WaitsForAllEvenWhenOneFails) {
  std::vector<int> order;
  std::vector<Task<void>> tasks;
  tasks.push_back(fail());
  tasks.push_back(note_turns(&order, 1, 10));
  EXPECT_THROW(sync_wait(when_all(std::move(tasks))), std::runtime_error);
  EXPECT_EQ(order.size(), 10u);
}

Task<void> keep(std::shared_ptr<int> argument) {
  co_await Loop::current().yield();
  ++*argument;
}

Task<long> users_after_all() {
  const auto shared = std::make_shared<int>(0);
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(keep(shared));
  co_await when_all(std::move(tasks));
  co_return shared.use_count();
}

TEST(WhenAll, TheTasksArgumentsAreGoneWhenItIsDone) {
  EXPECT_EQ(sync_wait(users_after_all()), 1);
}

Task<int> sum_on_workers(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    sum += co_await WorkerPool::shared().run([i] { return i; });
  }
  co_return sum;
}

Task<void> fail_on_worker() {
  co_await WorkerPool::shared().run([] { throw std::runtime_error("no"); });
}

Task<void> add_on_worker(int* total) {
  const int one = co_await WorkerPool::shared().run([] { return 1; });
  *total += one;
}

Task<bool> busy_in_job(WorkerPool* pool) {
  const bool busy = co_await pool->run([pool] { return pool->is_busy(); });
  co_return busy;
}

TEST(WorkerPool, GivesResultsAndErrorsBackToTheLoop) {
  EXPECT_EQ(sync_wait(sum_on_workers(1000)), 499500);
  EXPECT_THROW(sync_wait(fail_on_worker()), std::runtime_error);
}

TEST(WorkerPool, ManyJobsAtOnceAllComeBackToOneThread) {
  int total = 0;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 2000; ++i) tasks.push_back(add_on_worker(&total));
  sync_wait(when_all(std::move(tasks)));
  EXPECT_EQ(total, 2000);
}

Task<void> note_in_line(WorkerPool* pool, WorkerPool::Strand* line, std::vector<int>* order,
                        int i) {
  co_await pool->run([order, i] { order->push_back(i); }, line);
}

std::thread no_thread(const std::function<void()>&) {
  throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
}

Task<std::thread::id> thread_of_job(WorkerPool* pool, WorkerPool::Strand* line) {
  const auto id = [] { return std::this_thread::get_id(); };
  co_return co_await pool->run(id, line);
}

TEST(WorkerPool, WhereNoThreadCanBeMadeTheLoopDoesTheWork) {
  WorkerPool pool(2, no_thread);
  WorkerPool::Strand line;
  Loop loop;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(loop.run(thread_of_job(&pool, nullptr)), std::this_thread::get_id());
    EXPECT_EQ(loop.run(thread_of_job(&pool, &line)), std::this_thread::get_id());
    EXPECT_FALSE(line.is_busy());
    EXPECT_FALSE(pool.is_busy());
  }
}

Task<void> throw_in_job(WorkerPool* pool) {
  const auto refuse = [] { throw std::runtime_error("no"); };
  co_await pool->run(refuse);
}

TEST(WorkerPool, AnErrorOfWorkThatTheLoopDoesReachesTheCaller) {
  WorkerPool pool(1, no_thread);
  Loop loop;
  EXPECT_THROW(loop.run(throw_in_job(&pool)), std::runtime_error);
}

TEST(WorkerPool, TheThreadsThatCouldBeMadeDoAllWork) {
  int made = 0;
  WorkerPool pool(4, [&made](const std::function<void()>& function) {
    if (++made > 1) return no_thread(function);
    return std::thread(function);
  });
  std::vector<int> order;
  WorkerPool::Strand line;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(note_in_line(&pool, &line, &order, i));
  Loop loop;
  loop.run(when_all(std::move(tasks)));
  ASSERT_EQ(order.size(), 20u);
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_NE(loop.run(thread_of_job(&pool, nullptr)), std::this_thread::get_id());
}

TEST(WorkerPool, AThreadIsTriedForAgainWhenTheHostHasOne) {
  bool has_threads = false;
  WorkerPool pool(1, [&has_threads](const std::function<void()>& function) {
    return has_threads ? std::thread(function) : no_thread(function);
  });
  Loop loop;
  EXPECT_EQ(loop.run(thread_of_job(&pool, nullptr)), std::this_thread::get_id());
  has_threads = true;
  EXPECT_NE(loop.run(thread_of_job(&pool, nullptr)), std::this_thread::get_id());
}

Task<void> end_after(int turns, int* done) {
  for (int i = 0; i < turns; ++i) co_await Loop::current().yield();
  ++*done;
}

Task<void> wait_at(Gate* gate, const int* done, int* seen) {
  co_await Loop::current().yield();
  co_await gate->wait_until_empty();
  *seen = *done;
}

TEST(Gate, WhoeverWaitsGoesOnWhenTheLastOneHasEnded) {
  Gate gate;
  int done = 0;
  int seen = 0;
  std::vector<Task<void>> tasks;
  tasks.push_back(end_after(5, &done));
  tasks.push_back(end_after(2, &done));
  for (Task<void>& task : tasks) task.count_in(&gate);
  EXPECT_EQ(gate.count(), 2u);
  tasks.push_back(wait_at(&gate, &done, &seen));
  Loop loop;
  loop.run(when_all(std::move(tasks)));
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(gate.count(), 0u);
}

TEST(Gate, ATaskIsCountedOnceAndUntilItsBodyHasEnded) {
  Gate gate;
  Gate other;
  int done = 0;
  {
    Task<void> dropped = end_after(0, &done);
    dropped.count_in(&gate);
    dropped.count_in(&other);
    EXPECT_EQ(gate.count(), 1u);
    EXPECT_EQ(other.count(), 0u);
  }
  EXPECT_EQ(gate.count(), 0u);
  Task<void> kept = end_after(0, &done);
  kept.count_in(&gate);
  sync_wait(std::move(kept));
  EXPECT_EQ(gate.count(), 0u);
}

TEST(WorkerPool, IsBusyWhileAJobIsNotDone) {
  WorkerPool pool(2);
  EXPECT_FALSE(pool.is_busy());
  EXPECT_TRUE(sync_wait(busy_in_job(&pool)));
  EXPECT_FALSE(pool.is_busy());
}

TEST(WorkerPool, JobsInALineAreDoneOneAtATimeInTheirOrder) {
  WorkerPool pool(4);
  WorkerPool::Strand line;
  std::vector<int> order;
  std::vector<int> expected;
  int beside = 0;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 500; ++i) {
    tasks.push_back(note_in_line(&pool, &line, &order, i));
    tasks.push_back(add_on_worker(&beside));
    expected.push_back(i);
  }
  sync_wait(when_all(std::move(tasks)));
  EXPECT_EQ(order, expected);
  EXPECT_EQ(beside, 500);
  EXPECT_FALSE(line.is_busy());
}

Task<bool> line_is_busy_in_job(WorkerPool* pool, WorkerPool::Strand* line) {
  const bool busy = co_await pool->run([line] { return line->is_busy(); }, line);
  co_return busy;
}

TEST(WorkerPool, ALineIsBusyWhileAJobOfItIsNotDone) {
  WorkerPool pool(2);
  WorkerPool::Strand line;
  EXPECT_FALSE(line.is_busy());
  EXPECT_TRUE(sync_wait(line_is_busy_in_job(&pool, &line)));
  EXPECT_FALSE(line.is_busy());
}

Task<void> hold(Mutex* mutex, int* inside, int* most) {
  const Mutex::Guard guard = co_await mutex->lock();
  *most = std::max(*most, ++*inside);
  co_await Loop::current().yield();
  --*inside;
}

TEST(Mutex, LetsOneInAtATime) {
  Mutex mutex;
  int inside = 0;
  int most = 0;
  std::vector<Task<void>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(hold(&mutex, &inside, &most));
  sync_wait(when_all(std::move(tasks)));
  EXPECT_EQ(most, 1);
  EXPECT_FALSE(mutex.is_locked());
}

struct RangeUse {
  uint64_t offset;
  uint64_t length;
  RangeLock::Mode mode;
  std::string name;
};

Task<void> use_range(RangeLock* lock, RangeUse use, std::vector<std::string>* log) {
  const RangeLock::Guard guard = co_await lock->acquire(use.offset, use.length, use.mode);
  log->push_back("+" + use.name);
  co_await Loop::current().yield();
  log->push_back("-" + use.name);
}

std::vector<std::string> log_of(std::vector<RangeUse> uses) {
  RangeLock lock;
  std::vector<std::string> log;
  std::vector<Task<void>> tasks;
  for (RangeUse& use : uses) tasks.push_back(use_range(&lock, use, &log));
  sync_wait(when_all(std::move(tasks)));
  return log;
}

constexpr auto kShared = RangeLock::Mode::kShared;
constexpr auto kExclusive = RangeLock::Mode::kExclusive;

TEST(RangeLock, OverlappingWritesTakeTurnsAndOthersAreNotHeldUp) {
  EXPECT_EQ(log_of({{0, 10, kExclusive, "a"}, {9, 1, kExclusive, "b"}, {10, 5, kExclusive, "c"}}),
            (std::vector<std::string>{"+a", "+c", "-a", "-c", "+b", "-b"}));
}

TEST(RangeLock, AnEmptyRangeConflictsWithNothing) {
  EXPECT_EQ(log_of({{0, 10, kExclusive, "a"}, {5, 0, kExclusive, "b"}, {0, 0, kExclusive, "c"}}),
            (std::vector<std::string>{"+a", "+b", "+c", "-a", "-b", "-c"}));
}

TEST(RangeLock, ARangeToTheEndOfAllOffsetsHoldsAllFromThereOn) {
  EXPECT_EQ(log_of({{100, UINT64_MAX - 100, kExclusive, "a"},
                    {UINT64_MAX - 1, 1, kShared, "b"},
                    {99, 1, kShared, "c"}}),
            (std::vector<std::string>{"+a", "+c", "-a", "-c", "+b", "-b"}));
}

TEST(RangeLock, ReadersShareAndAWriterIsNotOvertakenByLaterReaders) {
  EXPECT_EQ(log_of({{0, 10, kShared, "r1"},
                    {5, 10, kShared, "r2"},
                    {0, 10, kExclusive, "w"},
                    {0, 1, kShared, "r3"}}),
            (std::vector<std::string>{"+r1", "+r2", "-r1", "-r2", "+w", "-w", "+r3", "-r3"}));
}

}  // namespace
}  // namespace byre
